from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tests.core.graphs import NODES, chain, diffusion
from tests.core.toys import Text
from tests.pipelines.conftest import quiet
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError
from yggdrasil.core.roles import AbstractCodec
from yggdrasil.core.values import CodecSpecValue
from yggdrasil.pipelines.live.colours import ColourMap
from yggdrasil.pipelines.live.preview import Preview

CALL = {"prompt": "a cat", "num_inference_steps": 6, "seed": 0, "output_type": "pt"}


class LinearCodec(AbstractCodec):
    """Decodes by a linear map, eight pixels to a latent pixel."""

    def __init__(self, outputs=3):
        generator = torch.Generator().manual_seed(1)
        self.weights = torch.randn(4, outputs, generator=generator) * 0.1
        self.offset = torch.linspace(-0.2, 0.3, outputs)

    def describe_latents(self):
        return CodecSpecValue(channels=4, scale=8)

    def decode(self, latents):
        small = (latents.movedim(1, -1) @ self.weights + self.offset).movedim(-1, 1)
        return interpolate(small, scale_factor=8, mode="nearest")

    decode.__annotations__ = AbstractCodec.decode.__annotations__


@pytest.fixture
def ddim(theirs):
    """Gives a pipeline whose last step goes all the way to its prediction."""
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    pipe.graph.replace_node("solver", "solver/ddim", set_alpha_to_one=True, clip_sample=False)
    return pipe


# -- colours ---------------------------------------------------------------------------------------


def test_a_linear_decoder_is_found_exactly():
    codec = LinearCodec()
    found = ColourMap.fit(codec)
    torch.testing.assert_close(found.weights, codec.weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.offset, codec.offset, atol=1e-5, rtol=0)
    latents = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(2))
    expected = codec.decode(latents)[:, :, ::8, ::8]
    torch.testing.assert_close(found(latents), expected, atol=1e-5, rtol=0)


def test_a_map_does_not_depend_on_chance_and_draws_from_no_generator_of_others():
    torch.manual_seed(3)
    first = ColourMap.fit(LinearCodec())
    torch.manual_seed(4)
    before = torch.get_rng_state()
    second = ColourMap.fit(LinearCodec())
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(first.weights, second.weights, atol=1e-6, rtol=0)


def test_what_is_no_picture_has_no_colours():
    with pytest.raises(InputError, match=r"LinearCodec decodes to \[64, 1, 32, 32\]"):
        ColourMap.fit(LinearCodec(outputs=1))


# -- when ------------------------------------------------------------------------------------------


def test_a_picture_is_shown_every_few_steps(ddim):
    frames = []
    ddim(**CALL, preview=Preview(frames.append, every=2))
    assert [(frame.index, frame.count) for frame in frames] == [(2, 6), (4, 6), (6, 6)]
    assert [image.size for frame in frames for image in frame.images] == [(8, 8)] * 3
    assert frames[0].images[0].mode == "RGB"


def test_a_function_will_do(ddim):
    frames = []
    ddim(**CALL, preview=frames.append)
    assert [frame.index for frame in frames] == [5]


def test_every_sample_has_its_picture(ddim):
    frames = []
    call = {**CALL, "prompt": ["a cat", "a dog"], "width": 80, "height": 64}
    ddim(**call, preview=frames.append)
    assert [image.size for image in frames[0].images] == [(10, 8)] * 2


def test_packed_latents_are_unpacked_for_a_picture():
    flux = quiet(InferencePipeline.from_diffusers(tiny_flux()))
    call = {
        "prompt": "a cat", "height": 64, "width": 96, "num_inference_steps": 2,
        "max_sequence_length": 8, "generator": torch.Generator().manual_seed(0),
    }  # fmt: skip
    frames, last = [], []
    flux(**call, preview=Preview(frames.append, every=1))
    assert [image.size for frame in frames for image in frame.images] == [(12, 8)] * 2
    result = flux(**call, preview=Preview(last.append, every=2, decode=True), output_type="np")
    shown = np.asarray(last[0].images[0], np.float32) / 255
    assert np.abs(shown - result.images[0]).max() < 0.01
    with pytest.raises(InputError, match="packed latents"):
        flux(**call, preview=frames.append, output_type="latent")


def test_previews_change_no_bit(ddim, theirs):
    before = torch.random.get_rng_state()
    shown = ddim(**CALL, preview=Preview(print, every=1, decode=True)).images
    assert torch.equal(torch.random.get_rng_state(), before)
    alone = quiet(InferencePipeline.from_diffusers(theirs))
    alone.graph.replace_node("solver", "solver/ddim", set_alpha_to_one=True, clip_sample=False)
    assert torch.equal(shown, alone(**CALL).images)


def test_a_decoded_preview_of_the_last_step_is_the_picture(ddim):
    frames = []
    picture = ddim(**{**CALL, "output_type": "pil"},
                   preview=Preview(frames.append, every=6, decode=True)).images[0]  # fmt: skip
    difference = np.asarray(frames[0].images[0], int) - np.asarray(picture, int)
    assert abs(difference).max() <= 1


def test_a_preview_leaves_the_cache_of_loops_alone(ddim):
    """An observer may end a loop, a preview may not; so what a loop gave is kept."""
    frames = []
    first = ddim(**CALL, preview=frames.append).images
    again = ddim(**CALL, preview=frames.append).images
    assert torch.equal(first, again)
    assert len(frames) == 1


def test_latents_have_previews_too(ddim):
    frames = []
    ddim(**{**CALL, "output_type": "latent"}, preview=frames.append)
    assert [frame.images[0].size for frame in frames] == [(8, 8)]


def test_a_map_is_fitted_once_and_again_for_other_weights(monkeypatch):
    fitted = []
    fit = ColourMap.fit
    monkeypatch.setattr(ColourMap, "fit", lambda codec: fitted.append(codec) or fit(codec))
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    preview = Preview(print, every=3)
    for seed in (0, 1):
        ours(**{**CALL, "seed": seed}, preview=preview)
    assert len(fitted) == 1
    with torch.no_grad():
        ours.components["vae"].decoder.conv_out.bias.add_(1.0)
    ours(**{**CALL, "seed": 2}, preview=preview)
    assert len(fitted) == 2


def test_a_frame_shows_itself_in_a_notebook(ddim):
    frames = []
    ddim(**CALL, preview=frames.append)
    assert frames[0]._repr_png_().startswith(b"\x89PNG")


# -- what cannot be --------------------------------------------------------------------------------


def test_previews_that_cannot_be(ddim, encodings):
    with pytest.raises(InputError, match="every is 0"):
        Preview(print, every=0)
    with pytest.raises(InputError, match=r"preview is 5: give a function that takes a Prev"):
        ddim(**CALL, preview=5)
    assert encodings == []


@pytest.mark.parametrize(
    ("graph", "what"),
    [
        (diffusion([name for name in NODES if name not in ("vae", "blend")]), "codec"),
        (chain(Text()).expose_output("image", "n0.encode"), "loop"),
    ],
)
def test_a_graph_that_makes_no_pictures_has_no_preview(graph, what):
    pipe = quiet(InferencePipeline(graph))
    with pytest.raises(InputError, match=f"preview: graph '{graph.name}' runs no {what}"):
        pipe("a cat", preview=print)

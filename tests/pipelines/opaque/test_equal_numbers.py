"""Pipelines without a template give their own numbers: alone, from a folder, and as stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from tests.tiny_models import tiny_pipeline
from tests.tiny_whole import MADE, call_of, tiny_whole
from yggdrasil import InferencePipeline
from yggdrasil.hub.families import has_template

# What Diffusers says of its own code.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

QUICK = ("DDPMPipeline", "PixArtSigmaPipeline", "KandinskyV22PriorPipeline", "AnimateDiffPipeline",
         "StableAudioPipeline", "StableDiffusionImageVariationPipeline")  # fmt: skip
EVERY = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(MADE)
]


def flat(value: Any) -> list[Any]:
    """Gives the arrays of a result, in order."""
    if isinstance(value, list | tuple):
        return [each for part in value for each in flat(part)]
    if isinstance(value, Tensor):
        return [value.detach().numpy()]
    return [np.asarray(value)] if isinstance(value, np.ndarray | PIL.Image.Image) else [value]


def assert_equal(mine: Any, theirs: Any) -> None:
    """Refuses any difference."""
    pairs = list(zip(flat(mine), flat(theirs), strict=True))
    assert pairs
    for one, other in pairs:
        assert type(one) is type(other)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert one.size
        assert np.array_equal(one, other)


def test_there_are_enough_classes_without_a_template():
    assert len([name for name in MADE if not has_template(name)]) >= 30


@pytest.mark.parametrize("name", EVERY)
def test_alone(name):
    theirs = tiny_whole(name)
    expected = theirs(**call_of(name))
    pipe = InferencePipeline.from_diffusers(theirs, opaque=True)
    result = pipe(**call_of(name))
    assert result.outputs.keys() >= expected.keys()  # which leaves out what is None
    for output, value in result.outputs.items():
        assert_equal(value, getattr(expected, output))
    pipe(**call_of(name))  # some models keep tables that they make in their first run
    kept = pipe(**call_of(name))
    assert pipe.cache_info().hits >= 1
    for output, value in kept.outputs.items():
        assert_equal(value, getattr(expected, output))


@pytest.mark.parametrize("name", EVERY)
def test_from_a_folder(name, tmp_path):
    theirs = tiny_whole(name)
    expected = theirs(**call_of(name))
    theirs.save_pretrained(tmp_path / "theirs")
    pipe = InferencePipeline.from_pretrained(tmp_path / "theirs", opaque=True)
    pipe.set_progress_bar_config(disable=True)
    for output, value in pipe(**call_of(name)).outputs.items():
        assert_equal(value, getattr(expected, output))
    pipe.save_pretrained(tmp_path / "ours")
    mine, other = (
        (tmp_path / each / "model_index.json").read_text() for each in ("ours", "theirs")
    )
    assert mine.strip() == other.strip()
    again = InferencePipeline.from_pretrained(tmp_path / "ours")
    again.set_progress_bar_config(disable=True)
    for output, value in again(**call_of(name)).outputs.items():
        assert_equal(value, getattr(expected, output))


@pytest.mark.parametrize("name", EVERY)
def test_as_a_stage_beside_native_ones(name):
    theirs, diffusion = tiny_whole(name), tiny_pipeline()
    whole = InferencePipeline.from_diffusers(theirs, opaque=True)
    base, polish = (InferencePipeline.from_diffusers(diffusion, task=None) for _ in range(2))
    for each in (base, polish):
        each.set_progress_bar_config(disable=True)
    ports = whole.graph.block("pipeline").ops()["run"]
    left_out = {"generator", "image", "output_type"}
    call = {key: value for key, value in call_of(name).items() if key not in left_out}
    drawn = {"prompt": "a photo of a cat", "num_inference_steps": 2}
    reads, gives = "image" in ports.inputs, "images" in ports.outputs

    generator = torch.Generator().manual_seed(0)
    first = base(**drawn, generator=generator).images if reads or not gives else None
    expected = theirs(**call, **({"image": first[0]} if reads else {}), generator=generator)
    if gives:
        count = len(expected.images)
        improved = {**drawn, "prompt": ["a photo of a cat"] * count}
        last = polish(**improved, image=expected.images, generator=generator).images

    links = {"whole.image": "base.images"} if reads else {}
    links |= {"polish.init_image": "whole.images"} if gives else {}
    stages = {"base": base} if reads or not gives else {}
    stages |= {"whole": whole, **({"polish": polish} if gives else {})}
    both = InferencePipeline.from_combined(stages, links=links)
    if not reads and not gives:  # no data orders them
        both.graph.draws = ("base.source.sample", "base.solver.step", "whole.pipeline.run")
    for output in ports.outputs:
        both.graph.expose_output(f"of_{output}", f"whole.run.{output}")
    both.set_progress_bar_config(disable=True)
    own = {"whole": call, "polish": improved if gives else {}, "base": drawn}
    own = {stage: own[stage] for stage in stages}
    result = both(generator=torch.Generator().manual_seed(0), **own)
    for output in ports.outputs:
        assert_equal(result.outputs[f"of_{output}"], getattr(expected, output))
    assert_equal(result.images, last if gives else first)


def test_a_prior_feeds_its_decoder_by_names():
    prior, decoder = "KandinskyV22PriorPipeline", "KandinskyV22Pipeline"
    first, second = tiny_whole(prior), tiny_whole(decoder)
    calls = [
        {key: value for key, value in call_of(name).items() if "embed" not in key}
        for name in (prior, decoder)
    ]
    for call in calls:
        del call["generator"]
    generator = torch.Generator().manual_seed(0)
    made = first(**calls[0], generator=generator)
    reads = InferencePipeline.from_diffusers(second).graph.block("pipeline").ops()["run"].inputs
    handed = {name: value for name, value in made.items() if name in reads}
    assert handed.keys() == {"image_embeds", "negative_image_embeds"}
    expected = second(**{**calls[1], **handed}, generator=generator).images

    stages = {name: InferencePipeline.from_diffusers(each)
              for name, each in (("prior", first), ("decoder", second))}  # fmt: skip
    both = InferencePipeline.from_combined(stages)
    both.set_progress_bar_config(disable=True)
    told = {"prior": calls[0], "decoder": calls[1]}
    result = both(generator=torch.Generator().manual_seed(0), output_type="np", **told)
    assert_equal(result.images, expected)

"""Ports of every pipeline class that Diffusers exports."""

from __future__ import annotations

import importlib.util

import diffusers
import pytest

from yggdrasil.blocks.outer_module.diffusers_pipeline import DiffusersPipeline
from yggdrasil.blocks.outer_module.pipeline_classes import (
    component_class,
    parts_of,
    pipeline_class,
    pipeline_names,
)
from yggdrasil.blocks.outer_module.pipeline_ports import ports_of
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.core.kinds import ANY

NO_CALL = {"DiffusionPipeline", "VersatileDiffusionPipeline"}
"""A base, and one whose parts are called by name."""
LACKING = {
    "AudioDiffusionPipeline": "librosa",
    "ConsisIDPipeline": "cv2",
    "KolorsImg2ImgPipeline": "sentencepiece",
    "KolorsPAGPipeline": "sentencepiece",
    "KolorsPipeline": "sentencepiece",
    "OnnxStableDiffusionImg2ImgPipeline": "onnx",
    "OnnxStableDiffusionInpaintPipeline": "onnx",
    "OnnxStableDiffusionPipeline": "onnx",
    "OnnxStableDiffusionUpscalePipeline": "onnx",
    "SpectrogramDiffusionPipeline": "note_seq",
    "StableDiffusionOnnxPipeline": "onnx",
}
"""Classes that Diffusers imports only where a package is installed."""


def is_whole(name: str) -> bool:
    """Says whether a class is to have ports here."""
    lacks = name in LACKING and importlib.util.find_spec(LACKING[name]) is None
    return "Modular" not in name and name not in NO_CALL and not lacks


def test_ports_derive_for_every_pipeline_class_of_diffusers():
    whole = [name for name in pipeline_names() if is_whole(name)]
    assert len(whole) >= 288
    own = {*dir(AbstractBaseBlock), "pipeline", "settings", "run", "adopt", "assembled"}
    for name in whole:
        cls = pipeline_class(name)
        spec = ports_of(cls, "run")
        assert spec.outputs, name
        assert "return_dict" not in spec.inputs, name
        assert not any("callback" in port for port in spec.inputs), name
        # A slot is read as an attribute of the block.
        assert not own & parts_of(cls).components.keys(), name


def test_every_other_name_is_refused_with_its_reason():
    others = [name for name in pipeline_names() if not is_whole(name)]
    for name in others:
        error, why = ConfigError, "is modular" if "Modular" in name else "has no __call__"
        if name in LACKING:
            error, why = ModelError, "is not installed: pip install "
        with pytest.raises(error, match=why):
            pipeline_class(name)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        (
            "StableDiffusionImg2ImgPipeline",
            {"image": "pictures", "prompt": "prompt", "strength": "float", "latents": None},
            {"images": "pictures", "nsfw_content_detected": "flags"},
        ),
        (
            "KandinskyV22Pipeline",
            {"image_embeds": "image_embeds", "generator": "generator", "height": "int"},
            {"images": "pictures"},
        ),
        (
            "KandinskyV22PriorPipeline",
            {"prompt": "prompt", "num_images_per_prompt": "int"},
            {"image_embeds": "image_embeds", "negative_image_embeds": "image_embeds"},
        ),
        (
            "AnimateDiffVideoToVideoPipeline",
            {"video": "frames", "cross_attention_kwargs": "any"},
            {"frames": "frames"},
        ),
        ("AudioLDM2Pipeline", {"audio_length_in_s": "float"}, {"audios": "audio"}),
        ("WuerstchenCombinedPipeline", {"prior_guidance_scale": "float"}, {"images": "pictures"}),
        ("MarigoldDepthPipeline", {"image": "pictures"}, {"prediction": "any"}),
    ],
)  # fmt: skip
def test_kinds_are_told_by_names_and_annotations(name, inputs, outputs):
    spec = ports_of(pipeline_class(name), "run")
    for port, kind in inputs.items():
        if kind is None:
            assert port not in spec.inputs
        else:
            assert spec.inputs[port].kinds[0].name == kind
    found = {port: each.kinds[0].name for port, each in spec.outputs.items()}
    assert found.items() >= outputs.items()


def test_what_has_no_default_is_required():
    spec = ports_of(diffusers.KandinskyV22Pipeline, "run")
    assert {name for name, port in spec.inputs.items() if port.required} == {
        "image_embeds",
        "negative_image_embeds",
    }
    assert spec.inputs["num_inference_steps"].default == 100
    assert spec.inputs["latents"].kinds != (ANY,)


def test_components_and_settings_are_told_apart():
    parts = parts_of(diffusers.WanPipeline)
    assert parts.components["vae"] is False
    assert parts.components["transformer_2"] is True
    assert parts.settings == {"boundary_ratio": None, "expand_timesteps": False}
    block = DiffusersPipeline("WanPipeline", {"boundary_ratio": 0.5})
    assert set(block.slots()) == set(parts.components)
    assert block.slots()["transformer_2"].optional
    with pytest.raises(
        ConfigError, match=r"WanPipeline has no setting 'boundary'. Did you mean 'b"
    ):
        DiffusersPipeline("WanPipeline", {"boundary": 0.5})


def test_names_that_diffusers_has_not_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no pipeline class 'PixArtSigmPipeline'. Did you mean"):
        DiffusersPipeline("PixArtSigmPipeline")


def test_the_class_of_a_component_is_that_of_the_index_or_of_the_constructor():
    cls = diffusers.StableCascadeDecoderPipeline
    assert component_class(cls, "vqgan", "PaellaVQModel").__name__ == "PaellaVQModel"
    assert component_class(cls, "scheduler", None) is diffusers.DDPMWuerstchenScheduler
    assert component_class(cls, "scheduler", "DDIMScheduler") is diffusers.DDIMScheduler
    with pytest.raises(ModelError, match="'vqgan' of StableCascadeDecoderPipeline is a Popen:"):
        component_class(cls, "vqgan", "Popen")

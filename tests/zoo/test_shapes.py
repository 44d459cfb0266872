"""The model in the box: its format, its size, and what it paints."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from tools.measure_adherence import measure
from yggdrasil import InferencePipeline
from yggdrasil.hub.zoo_models import zoo_models
from yggdrasil.training.datasets.shapes import check, parse_caption

MODEL = zoo_models().get("zoo/shapes")

pytestmark = pytest.mark.skipif(MODEL is None, reason="zoo/shapes is still being trained")


def test_all_weights_are_half_precision_and_small():
    files = list(MODEL.glob("*/*.safetensors"))
    assert len(files) == 3
    assert sum(path.stat().st_size for path in files) <= 16 * 2**20
    for path in files:
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - no mapping


def test_it_loads_in_diffusers_unchanged():
    pipe = StableDiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.unet.dtype == pipe.text_encoder.dtype == pipe.vae.dtype == torch.float32
    theirs = pipe(
        "a large red circle", num_inference_steps=4, generator=torch.manual_seed(3)
    ).images[0]
    ours = InferencePipeline.from_diffusers(pipe)
    ours.set_progress_bar_config(disable=True)
    mine = ours("a large red circle", num_inference_steps=4, seed=3).images[0]
    assert mine.tobytes() == theirs.tobytes()


def test_it_names_no_file_of_another_machine():
    for path in MODEL.glob("**/*.json"):
        assert "_name_or_path" not in json.loads(path.read_text(encoding="utf-8"))


def test_it_paints_what_the_demo_asks_for():
    pipe = InferencePipeline.from_template("sd15", pretrained="zoo/shapes")
    pipe.set_progress_bar_config(disable=True)
    prompts = [
        "a large red circle at the left on a white background",
        "a large blue square in the center on a yellow background",
        "a large green heart at the right on a black background",
        "a small purple cross at the top on a white background",
    ]
    pictures = pipe(prompts, seed=[0, 1, 2, 3], num_inference_steps=20, guidance_scale=2.0).images
    verdicts = [check(p, parse_caption(t)) for p, t in zip(pictures, prompts, strict=True)]
    assert sum(verdict.is_right for verdict in verdicts) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_prompt_adherence():
    found = measure("zoo/shapes")
    assert found["one object, seen"].right >= 0.85
    assert found["one object, kept out"].right >= 0.70

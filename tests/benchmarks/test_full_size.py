"""The comparison of full-size models, with models so small that the figures mean nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import full_size
from benchmarks.random_models import parameters_of, random_pipeline
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.hub.config_sets import config_sets

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small():
    """Gives the registered configurations of XL with the sizes of a tiny model in them."""
    registered = config_sets()["sdxl"]
    tiny = tiny_sdxl().components
    components = dict(registered.components)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        config = dict(tiny[name].config if name in ("unet", "vae") else tiny[name].config.to_dict())
        known = components[name].values
        values = {key: value for key, value in config.items() if not key.startswith("_")}
        if name.startswith("text"):
            values = {**known, **{key: values[key] for key in known}, "vocab_size": 4096}
        components[name] = replace(components[name], values=values)
    return ConfigLibrary("small", replace(registered, components=components))


def test_every_parameter_is_drawn_and_takes_part(small):
    pipe = random_pipeline(small, CPU, torch.bfloat16)
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.bfloat16}
    assert parameters_of(pipe) > 0
    assert all(float(p.std()) > 0 for p in pipe.unet.parameters() if p.numel() > 1)
    again = random_pipeline(small, CPU, torch.bfloat16)
    assert torch.equal(next(pipe.unet.parameters()), next(again.unet.parameters()))


def test_a_run_writes_rows_and_the_page_of_them(small, tmp_path, monkeypatch):
    monkeypatch.setattr(full_size.ConfigLibrary, "open", lambda _: small)
    given = ["--device", "cpu", "--size", "64", "--steps", "2", "--pairs", "2"]
    full_size.main(["sdxl", *given, "--folder", str(tmp_path)])
    full_size.main(["sdxl", *given, "--folder", str(tmp_path), "--dtype", "float32"])
    rows = json.loads((tmp_path / "full_size.json").read_text(encoding="utf-8"))
    assert [row["dtype"] for row in rows.values()] == ["bfloat16", "float32"]
    for row in rows.values():
        assert row["differences"] == {"latents": 0.0, "images": 0.0}
        assert min(row["another_seed"].values()) > 1e-3
    text = (tmp_path / "full_size.md").read_text(encoding="utf-8")
    assert text == full_size.page(rows)
    assert "latents 0, images 0" in text
    assert "None of it was measured on a GPU yet." in text


def test_what_is_not_finite_is_told():
    pipe = tiny_sdxl()
    with torch.no_grad():
        next(pipe.vae.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="images of Diffusers are not finite"):
        full_size.measure_full_size(pipe, 64, 1, 1)

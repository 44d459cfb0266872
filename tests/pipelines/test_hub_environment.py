"""The hub as a user meets it: another process, told where it is by the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.hub_server import TOKEN, HubServer

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
import torch
from diffusers import StableDiffusionPipeline
from yggdrasil import InferencePipeline

def images(pipe):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    call = {"num_inference_steps": 2, "output_type": "pt", "generator": generator}
    return pipe("a cat", **call).images

mine = InferencePipeline.from_pretrained("org/name")
pictures = images(mine)
theirs = StableDiffusionPipeline.from_pretrained("org/name")
for module in (theirs.unet, theirs.vae, theirs.text_encoder):
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()  # from odd addresses to even ones
difference = (pictures - images(theirs)).abs().max().item()
print(json.dumps({"difference": difference, "mean": pictures.double().mean().item()}))
"""


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_a_process_is_told_of_hub_cache_and_token_by_its_environment(tiny_folder, tmp_path):
    where = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    with HubServer.running() as hub:
        hub.add("org/name", tiny_folder("sd15"), gated=True)
        first = run(SCRIPT, HF_ENDPOINT=hub.url, **where)
        assert first.returncode == 0, first.stderr
        assert json.loads(first.stdout)["difference"] == 0.0
        assert (tmp_path / "home" / "hub" / "models--org--name").is_dir()
        assert {each.token for each in hub.requests if "org/name" in each.path} == {TOKEN}
        hub.requests.clear()
        again = run(SCRIPT, **{**where, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1"})
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout) == json.loads(first.stdout)
        assert hub.requests == []
    where["HF_HOME"] = str(tmp_path / "empty")
    script = "from yggdrasil.hub.locate import locate; locate('org/name')"
    nothing = run(script, **{**where, "HF_HUB_OFFLINE": "1"})
    cache = tmp_path / "empty" / "hub"
    assert f"HF_HUB_OFFLINE is set, and the cache in {cache} lacks model_index.json" in (
        nothing.stderr
    )

"""Lists of blocks and templates, for people and for programs."""

from __future__ import annotations

import json

import pytest

from yggdrasil.core.ports import read_ops
from yggdrasil.core.registry import block_class, block_listings, block_types
from yggdrasil.core.templates import load_template


def test_blocks_are_listed_with_their_ops(yggdrasil):
    ended = yggdrasil("blocks")
    assert ended.code == 0
    lines = ended.out.splitlines()
    for name in block_types():
        assert any(line.strip().startswith(name) for line in lines), name
    (line,) = (line for line in lines if line.strip().startswith("codec/autoencoder_kl "))
    assert {"encode", "sample", "decode"} <= {word.rstrip(",") for word in line.split()}


def test_other_programs_get_a_line_for_each_block(yggdrasil, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    lines = yggdrasil("blocks").out.splitlines()
    assert len(lines) == len(block_listings()) + 1
    assert all(line == line.rstrip() for line in lines)


def test_a_narrow_terminal_gets_the_ops_below(yggdrasil, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = yggdrasil("blocks").out.splitlines()
    assert max(map(len, lines)) <= 80
    (place,) = (n for n, line in enumerate(lines) if line.strip().startswith("source/gaussian"))
    assert lines[place + 1].split() == ["sample"]


def test_blocks_for_programs(yggdrasil):
    listed = json.loads(yggdrasil("blocks", "--json").out)
    assert [each["type"] for each in listed] == list(block_types())
    (solver,) = (each for each in listed if each["type"] == "solver/euler")
    assert solver["summary"].startswith("Diffusers' ``EulerDiscreteScheduler``")
    assert {"start", "tick", "step", "finish"} < set(solver["ops"])


def test_a_block_is_shown_with_its_ports(yggdrasil):
    ended = yggdrasil("blocks", "codec/autoencoder_kl")
    assert ended.code == 0
    assert "component vae: AutoencoderKL" in ended.out
    assert "in   image" in ended.out
    assert "required" in ended.out
    assert "duplicate" in ended.out
    arguments = yggdrasil("blocks", "objective/autoencoding").out
    assert "arguments: l1_weight: " in arguments


def test_every_block_can_be_shown(yggdrasil):
    for name in block_types():
        ended = yggdrasil("blocks", name)
        assert (ended.code, ended.out.split()[0]) == (0, name)


def test_a_block_for_programs(yggdrasil):
    block = json.loads(yggdrasil("blocks", "codec/autoencoder_kl", "--json").out)
    specs = read_ops(block_class("codec/autoencoder_kl"))
    assert [each["op"] for each in block["ops"]] == list(specs)
    (sample,) = (each for each in block["ops"] if each["op"] == "sample")
    assert sample["inputs"][0] == {
        "port": "posterior", "kinds": ["posterior"], "required": True, "default": "None",
    }  # fmt: skip
    assert sample["outputs"] == [{"port": "latents", "kinds": ["latents (b c h w)"]}]
    assert block["components"] == {"vae": "AutoencoderKL"}


def test_an_unknown_block_gives_the_nearest(yggdrasil):
    ended = yggdrasil("blocks", "codec/autoencoder")
    assert (ended.code, ended.out) == (1, "")
    assert "'codec/autoencoder_kl'" in ended.err


def test_templates_are_listed_with_their_tasks(yggdrasil):
    ended = yggdrasil("templates")
    assert ended.code == 0
    for task in load_template("sd15").tasks:
        assert f"sd15_{task}" in ended.out
    assert "mask_image" in ended.out


def test_templates_for_programs(yggdrasil):
    rows = json.loads(yggdrasil("templates", "--json").out)
    tasks = load_template("sd15").tasks
    assert [row["task"] for row in rows if row["template"] == "sd15"] == [
        f"sd15_{task}" for task in tasks
    ]
    (inpaint,) = (row for row in rows if row["task"] == "sd15_inpaint")
    assert inpaint["diffusers"] == "StableDiffusionInpaintPipeline"
    assert {"prompt", "image", "mask_image", "strength"} < set(inpaint["arguments"])


# -- completion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["yggdrasil", "gen"], "generate"),
        (["yggdrasil", "blocks", "codec/"], "codec/autoencoder_kl"),
        (["yggdrasil", "generate", "a cat", "--solver", "solver/eu"], "solver/euler"),
        (["yggdrasil", "graph", "draw", "sd15_im"], "sd15_img2img"),
        (["yggdrasil", "generate", "--template", "sd15_in"], "sd15_inpaint"),
    ],
)
def test_the_tab_key_offers_names(yggdrasil, monkeypatch, words, offered):
    monkeypatch.setenv("_YGGDRASIL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(word.replace(" ", "\\ ") for word in words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert offered in yggdrasil().out.splitlines()


def test_a_shell_can_be_taught_to_complete(yggdrasil, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ended = yggdrasil("--show-completion", "bash")
    assert ended.code == 0
    assert "_YGGDRASIL_COMPLETE=complete_bash" in ended.out

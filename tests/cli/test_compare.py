from __future__ import annotations

import json

import pytest

from yggdrasil.pipelines.comparison import ours

QUICK = ("--steps", 1, "--pairs", 1, "--no-memory")


@pytest.fixture
def spoilt(monkeypatch):
    """Spoils YggDrasil's latents by a little."""
    outcome = ours.outcome

    def spoil(pipe, job):
        outputs = outcome(pipe, job)
        return {**outputs, "latents": outputs["latents"] + 0.001}

    monkeypatch.setattr(ours, "outcome", spoil)


def test_compare_prints_a_table_and_writes_pictures_and_a_page(yggdrasil, zoo, tmp_path):
    ended = yggdrasil("compare", "zoo/shapes", "a red cat", *QUICK, "--html", "page.html")
    assert ended.code == 0
    for said in ("latents, largest", "SSIM", "equal to the last bit", "page.html"):
        assert said in ended.out
    assert sorted(path.name for path in (tmp_path / "comparison").iterdir()) == [
        "difference.png",
        "diffusers.png",
        "yggdrasil.png",
    ]
    assert "a red cat" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_model_of_the_zoo_may_be_named_in_short(yggdrasil, zoo, tmp_path):
    ended = yggdrasil("compare", "shapes", *QUICK, "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["passed"]) == (0, True)
    assert found["call"]["guidance_scale"] == 2.0  # the one that the zoo suggests
    (tmp_path / "shapes").mkdir()
    assert "has no model_index.json" in yggdrasil("compare", "shapes", *QUICK).err


def test_wrong_usage_is_exit_code_2(yggdrasil):
    assert yggdrasil("compare").code == 2
    assert yggdrasil("compare", "zoo/shapes", "--pairs", 0).code == 2


def test_compare_prints_json_for_programs(yggdrasil, tiny_folder):
    ended = yggdrasil("compare", tiny_folder("sd15"), "a cat", *QUICK, "--json", "--separate")
    found = json.loads(ended.out)
    assert (ended.code, found["passed"], found["shared"]) == (0, True, False)
    assert found["likeness"]["latents"] == {"largest": 0.0, "mean": 0.0}


def test_a_difference_above_the_tolerance_is_exit_code_3(yggdrasil, zoo, spoilt):
    ended = yggdrasil("compare", "zoo/shapes", *QUICK)
    assert ended.code == 3
    assert "Not the same. The largest difference is 0.001; 0 is let pass." in ended.out
    passed = yggdrasil("compare", "zoo/shapes", *QUICK, "--tolerance", 0.01)
    assert passed.code == 0
    assert "Within tolerance." in passed.out


def test_compare_refuses_with_a_message(yggdrasil, zoo, tmp_path):
    for arguments, message in (
        (("./nowhere",), "ModelError: There is no folder nowhere."),
        (("shape",), "A model of the hub is organisation/name. Did you mean 'shapes'?"),
        (("zoo/shape",), "Did you mean 'zoo/shapes'?"),
        (("zoo/shapes", "a cat", "--mask", "none.png"), "none.png cannot be read as a picture"),
        (("zoo/shapes", "--solver", "solver/eulr"), "Did you mean 'solver/euler"),
        (("zoo/shapes", "--dtype", "float33"), "InputError: dtype is 'float33'"),
    ):
        ended = yggdrasil("compare", *arguments)
        assert ended.code == 1
        assert message in ended.err
        assert "Traceback" not in ended.err
    assert not (tmp_path / "comparison").exists()

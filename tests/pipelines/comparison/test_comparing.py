"""A comparison of the two sides: what it finds, and that it would find a difference."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from tests.pipelines.pictures import picture
from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_components
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ExecutionError, InputError, ModelError, YggdrasilError
from yggdrasil.pipelines.comparison import ours, peak, theirs
from yggdrasil.pipelines.comparison.comparing import compare
from yggdrasil.pipelines.comparison.figures import Difference
from yggdrasil.pipelines.comparison.page import write_page
from yggdrasil.pipelines.comparison.pictures import amplified, write_pictures
from yggdrasil.pipelines.comparison.request import Request

QUICK = {"pairs": 1, "memory": False}


@pytest.fixture
def request_for(tiny_folder):
    """Makes requests of a tiny model, of two steps."""

    def make(kind="sd15", **call):
        return Request(**{"model": str(tiny_folder(kind)), "prompt": "a cat", "steps": 2, **call})

    return make


@pytest.fixture
def apart(monkeypatch):
    """Spoils YggDrasil's pictures and latents by a little."""
    outcome = ours.outcome

    def spoilt(pipe, job):
        outputs = outcome(pipe, job)
        outputs["latents"][0, 0, 0, 0] += 0.25
        outputs["pictures"][0, 3, 4, 1] += 0.125
        return outputs

    monkeypatch.setattr(ours, "outcome", spoilt)


@pytest.mark.parametrize("separate", [False, True])
def test_the_two_give_the_same_bits(request_for, separate):
    found = compare(request_for(negative="ugly", seed=3), separate=separate, **QUICK)
    assert found.passed
    assert found.shared is not separate
    assert found.likeness.largest == 0.0
    assert found.ours.shape == (64, 64, 3)
    assert np.array_equal(found.ours, found.theirs)
    assert found.wall.ratio.count == 1


@pytest.mark.parametrize(
    ("kind", "call", "task"),
    [
        ("sd15", {"image": "in.png", "strength": 0.9}, "img2img"),
        ("sd15_inpaint", {"image": "in.png", "mask": "mask.png"}, "inpaint"),
        ("sd15", {"solver": "solver/euler", "width": 72}, "txt2img"),
    ],
)
def test_pictures_masks_and_solvers_go_to_both(request_for, tmp_path, kind, call, task):
    picture().save(tmp_path / "in.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    call = {k: str(tmp_path / v) if k in ("image", "mask") else v for k, v in call.items()}
    found = compare(request_for(kind, **call), **QUICK)
    assert found.job.task == task
    assert found.likeness.largest == 0.0


@pytest.fixture
def hub_model(hub, tiny_folder, tmp_path):
    """Puts a model on the hub with a component that the graph does not need."""
    folder = shutil.copytree(tiny_folder(), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["image_encoder"] = ["transformers", "CLIPVisionModelWithProjection"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "image_encoder").mkdir()
    (folder / "image_encoder" / "config.json").write_text("not to be fetched")
    hub.add("org/name", folder)
    return "org/name"


@pytest.mark.parametrize("separate", [False, True])
def test_a_model_of_the_hub_is_fetched_once_and_read_by_both(
    hub, hub_model, monkeypatch, request_for, separate
):
    monkeypatch.setattr(theirs, "open_theirs", _offline(monkeypatch, theirs.open_theirs))
    found = compare(request_for(model=hub_model), separate=separate, **QUICK)
    assert found.passed
    assert found.job.lacking == ("image_encoder",)
    assert "image_encoder/config.json" not in hub.fetched(hub_model)


def test_a_model_that_was_saved_with_its_graph_runs_that_graph(tiny_folder, request_for, tmp_path):
    pipe = InferencePipeline.from_pretrained(tiny_folder())
    pipe.graph.replace_node(
        "solver", "solver/dpmpp_2m", algorithm_type="dpmsolver++", solver_order=3
    )
    folder = pipe.save_pretrained(tmp_path / "saved")
    found = compare(request_for(model=str(folder)), **QUICK)
    assert found.passed
    assert not np.array_equal(found.ours, compare(request_for(), **QUICK).ours)


def test_a_model_of_one_file_is_refused_with_what_to_do(request_for, tmp_path):
    file = save_checkpoint(tmp_path / "model.safetensors", tiny_components())
    with pytest.raises(ModelError, match=r"one file.*save_pretrained"):
        compare(request_for(model=str(file)), **QUICK)


def test_a_family_without_a_template_is_named(request_for, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder(), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "NewPipeline"}))
    with pytest.raises(ModelError, match="is a NewPipeline, for which there is no template yet"):
        compare(request_for(model=str(folder)), **QUICK)


def test_a_difference_is_found_and_let_pass_up_to_the_tolerance(request_for, apart):
    found = compare(request_for(), **QUICK)
    assert not found.passed
    assert found.likeness.parts["latents"].largest == pytest.approx(0.25)
    assert found.likeness.parts["pictures"].largest == pytest.approx(0.125)
    assert 0 < found.likeness.parts["pictures"].mean < 1e-4
    assert found.likeness.psnr < 70
    assert found.likeness.ssim < 1
    assert compare(request_for(), tolerance=0.26, **QUICK).passed


def test_pictures_that_are_no_numbers_are_not_the_same(request_for):
    found = compare(request_for(), **QUICK)
    nothing, same = Difference(largest=math.nan, mean=math.nan), Difference(largest=0.0, mean=0.0)
    parts = {"latents": same, "pictures": nothing}
    found = replace(found, likeness=replace(found.likeness, parts=parts))
    assert not found.passed
    assert found.verdict() == ("Not the same.", "The largest difference is nan; 0 is let pass.")


def test_what_json_says_is_everything_but_the_pictures(request_for):
    plain = json.loads(json.dumps(compare(request_for(), **QUICK).as_plain(), allow_nan=False))
    assert plain["passed"] is True
    assert plain["likeness"]["psnr"] is None
    assert plain["call"]["prompt"] == "a cat"
    assert plain["versions"]["torch"] == torch.__version__
    assert plain["memory_bytes"] is None


@pytest.mark.slow
def test_each_side_tells_its_peak_from_a_process_of_its_own(request_for):
    job = ours.find_out(request_for(solver="solver/ddim"))
    held = torch.ones(2**28)  # a gibibyte here must not count there
    for side in ("ours", "theirs"):
        assert 2**26 < peak.peak_of(side, job) < held.nbytes


@pytest.mark.slow
def test_a_process_that_fails_says_why(request_for):
    job = ours.find_out(request_for())
    broken = type(job)(**{**_fields(job), "folder": "/nowhere"})
    with pytest.raises(ExecutionError, match="measures the memory of theirs failed"):
        peak.peak_of("theirs", broken)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"steps": 0}, InputError, "num_inference_steps is 0"),
        ({"model": "./nowhere"}, ModelError, "no folder nowhere"),
        ({"strength": 0.5}, YggdrasilError, "takes no argument 'strength'"),
        ({"image": "none.png"}, InputError, "none.png cannot be read as a picture"),
        ({"solver": "solver/eulr"}, YggdrasilError, "Did you mean 'solver/euler"),
    ],
)
def test_what_cannot_be_is_said_before_weights_are_loaded(
    request_for, monkeypatch, call, error, message
):
    monkeypatch.setattr("yggdrasil.pipelines.comparison.theirs.open_theirs", _never)
    with pytest.raises(error, match=message):
        compare(request_for(**call), **QUICK)


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"tolerance": -1.0}, {"tolerance": float("nan")}])
def test_numbers_that_mean_nothing_are_refused(request_for, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        compare(request_for(), **{**QUICK, **wrong})


@pytest.mark.parametrize("wrong", [{"dtype": "float33"}, {"device": "gpu?"}])
def test_what_pytorch_does_not_know_is_refused(request_for, wrong):
    with pytest.raises(InputError, match="by PyTorch's name"):
        request_for(**wrong)


def test_the_difference_is_amplified_to_white():
    one, other = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    other[1, 1] = 0.002
    shown, factor = amplified(one, other)
    assert factor == pytest.approx(500)
    assert (shown.max(), shown.min()) == (1.0, 0.0)
    assert amplified(one, one)[1] == 1.0


def test_pictures_are_written_as_files(request_for, tmp_path, apart):
    found = compare(request_for(), **QUICK)
    written = write_pictures(found, tmp_path / "new")
    assert [path.name for path in written] == ["yggdrasil.png", "diffusers.png", "difference.png"]
    with Image.open(written[2]) as shown:
        assert shown.getpixel((4, 3)) == (0, 255, 0)
        assert shown.getpixel((0, 0)) == (0, 0, 0)


class _Tags(HTMLParser):
    """Lists tags and attributes, and checks that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(request_for, tmp_path, apart):
    found = compare(request_for(prompt='<script>x</script> & "y" $title'), **QUICK)
    path = tmp_path / "sub" / "page.html"
    write_page(found, path)
    text = path.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in {tag for tag, _ in tags.tags}
    assert "&lt;script&gt;x&lt;/script&gt; &amp; &quot;y&quot; $title" in text
    images = [attrs["src"] for tag, attrs in tags.tags if tag == "img"]
    assert len(images) == 3
    assert all(source.startswith("data:image/png;base64,") for source in images)
    assert not re.search(r"https?:|url\(|@import|<link", text)
    assert "Not the same." in text


def test_the_page_says_that_the_two_are_the_same(request_for, tmp_path):
    write_page(compare(request_for(), **QUICK), tmp_path / "page.html")
    assert "equal to the last bit" in (tmp_path / "page.html").read_text(encoding="utf-8")


def _offline(monkeypatch, function):
    """Cuts a function off from the hub."""

    def without_hub(*arguments):
        with monkeypatch.context() as cut:
            cut.setattr(constants, "HF_HUB_OFFLINE", True)
            return function(*arguments)

    return without_hub


def _never(*_):
    raise AssertionError("weights were loaded")


def _fields(job):
    return {name: getattr(job, name) for name in type(job).__dataclass_fields__}

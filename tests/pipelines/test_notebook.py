"""What notebooks show, with everything that was given escaped."""

from __future__ import annotations

import base64
import io
import re
from html import unescape

import numpy as np
import pytest
import torch
from PIL import Image

from yggdrasil import ComputeGraph
from yggdrasil.pipelines.notebook import html_of_result, to_pictures

EVIL = '<script>"&'
CALL = {"num_inference_steps": 1, "seed": 0}


def pictures_in(html):
    """Gives the PNG pictures inside a page."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def drawings_in(html):
    """Gives the SVG drawings inside a page."""
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    return [base64.b64decode(each).decode() for each in found]


# -- graphs and plans ------------------------------------------------------------------------------


def test_a_graph_shows_its_drawing():
    graph = ComputeGraph.from_template("sd15")
    assert graph._repr_svg_() == graph.draw("svg")
    assert graph._repr_html_() is None


def test_a_graph_that_cannot_be_wired_says_why():
    graph = ComputeGraph(EVIL).add_node("unet", type="backbone/unet2d_condition")
    graph.add_node("text", type="conditioner/clip_text")
    graph.add_node("a", use="b.encode").add_node("b", use="a.encode")
    assert graph._repr_svg_() is None
    shown = graph._repr_html_()
    assert "GraphError" in shown
    assert "in a circle" in shown
    assert EVIL not in shown


def test_a_plan_shows_its_description(ours):
    plan = ours.plan("a cat")
    assert unescape(plan._repr_html_()) == f"<pre>{plan}</pre>"


# -- pipelines -------------------------------------------------------------------------------------


def test_a_pipeline_shows_what_it_is_and_its_graph(ours):
    ours("a cat", **CALL)
    shown = ours._repr_html_()
    assert drawings_in(shown) == [ours.graph.draw("svg")]
    for told in ("sd15", "StableDiffusionPipeline", "txt2img, img2img, inpaint", "512.0 MiB"):
        assert told in shown
    assert ours._repr_svg_() == ours.graph.draw("svg")


def test_a_pipeline_whose_graph_is_broken_still_shows_itself(ours):
    ours.graph.name = EVIL
    ours.graph.add_node("a", use="b.decode").add_node("b", use="a.decode")
    shown = ours._repr_html_()
    assert "in a circle" in shown
    assert EVIL not in shown
    assert ours._repr_svg_() is None


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_a_result_shows_its_pictures_in_every_form(ours, output_type):
    result = ours(["a cat", EVIL], **CALL, output_type=output_type)
    shown = result._repr_html_()
    pictures = pictures_in(shown)
    assert [each.size for each in pictures] == [(64, 64)] * 2
    expected = ours(["a cat", EVIL], **CALL).images
    for made, wanted in zip(pictures, expected, strict=True):
        assert np.array_equal(np.asarray(made), np.asarray(wanted))
    assert EVIL not in shown
    assert "&lt;script&gt;&quot;&amp;" in shown
    assert "seed: 0" in shown


def test_latents_are_told_by_their_shape(ours):
    shown = ours("a cat", **CALL, output_type="latent")._repr_html_()
    assert pictures_in(shown) == []
    assert "Tensor [1, 4, 8, 8]" in shown


def test_large_pictures_are_made_small_and_many_are_counted():
    shown = html_of_result([Image.new("RGB", (2000, 500))] * 20, {})
    pictures = pictures_in(shown)
    assert [each.size for each in pictures] == [(256, 64)] * 16
    assert "and 4 more" in shown
    assert len(shown) < 100_000


def test_an_unfinished_result_says_so():
    assert "stopped after: [4, 6]" in html_of_result([], {"stopped_after": [4, 6]})


@pytest.mark.parametrize("images", [None, "text", torch.zeros(3), np.zeros((2, 4, 4, 7))])
def test_what_is_no_picture_gives_none(images):
    assert to_pictures(images) == []

"""The rules of diffusion graphs, on the templates that come with the package."""

from __future__ import annotations

import PIL.Image

from yggdrasil.blocks.processor.inpaint_mask import InpaintMask
from yggdrasil.blocks.processor.vae_image import VaeImage
from yggdrasil.core.registry import register_block
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.templates import resolve_template


@register_block("processor/derived_vae_image")
class DerivedImage(VaeImage):
    pass


@register_block("processor/derived_inpaint_mask")
class DerivedMask(InpaintMask):
    pass


def test_processors_may_be_replaced_by_derived_ones():
    picture = PIL.Image.new("RGB", (16, 16))
    given = {"prompt": "a", "init_image": picture, "mask": picture.convert("L")}
    graph, _ = resolve_template("sd15")
    plain = str(Runtime(graph).plan(given))
    assert "image.preprocess" in plain
    assert "mask.preprocess" in plain
    graph.replace_node("image", "processor/derived_vae_image")
    graph.replace_node("mask", "processor/derived_inpaint_mask")
    assert str(Runtime(graph).plan(given)) == plain

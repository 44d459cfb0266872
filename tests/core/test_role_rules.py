"""The rules of diffusion graphs, on the templates that come with the package."""

from __future__ import annotations

from yggdrasil.blocks.processor.inpaint_mask import InpaintMask
from yggdrasil.blocks.processor.vae_image import VaeImage
from yggdrasil.core.registry import register_block
from yggdrasil.core.templates import resolve_template
from yggdrasil.core.wiring import wire


@register_block("processor/derived_vae_image")
class DerivedImage(VaeImage):
    pass


@register_block("processor/derived_inpaint_mask")
class DerivedMask(InpaintMask):
    pass


def sources(graph):
    """Gives every candidate of every input, in order."""
    return {
        f"{vertex}.{port}": [str(each) for choice in candidates.choices for each in choice]
        for vertex, ports in wire(graph).inputs.items()
        for port, candidates in ports.items()
    }


def test_processors_may_be_replaced_by_derived_ones():
    graph, _ = resolve_template("sd15")
    plain = sources(graph)
    assert plain["vae.encode.image"][0] == "image.preprocess.image"
    assert plain["mask.resize.mask"] == ["mask.preprocess.mask"]
    graph.replace_node("image", "processor/derived_vae_image")
    graph.replace_node("mask", "processor/derived_inpaint_mask")
    assert sources(graph) == plain

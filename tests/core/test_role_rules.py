"""The rules of diffusion graphs, on the templates that come with the package."""

from __future__ import annotations

from yggdrasil.blocks.processor.inpaint_mask import InpaintMask
from yggdrasil.blocks.processor.vae_image import VaeImage
from yggdrasil.core.availability import available_vertices
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.registry import register_block
from yggdrasil.core.rules import Rule
from yggdrasil.core.templates import resolve_template
from yggdrasil.core.wiring import Vertex, wire


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


def test_a_rule_of_the_graph_without_sources_holds_against_the_general_ones():
    graph, _ = resolve_template("sd15")
    assert sources(graph)["guidance.branches.backbone"] == ["unet.spec.backbone_spec"]
    graph.rules = (Rule("guidance.branches.backbone", ()),)
    assert sources(graph)["guidance.branches.backbone"] == []


def test_a_rule_may_require_what_a_signature_does_not():
    graph, _ = resolve_template("sd15")
    encode = Vertex("text", "encode_negative")
    assert encode in available_vertices(wire(graph), {"prompt"})
    needed = Rule(
        "conditioner.encode_negative.negative_prompt", ("$negative_prompt",), required=True
    )
    graph.rules = (needed,)
    again = ComputeGraph.from_yaml(graph.to_yaml())
    assert again.rules == (needed,)
    for each in (graph, again):
        assert encode not in available_vertices(wire(each), {"prompt"})
        assert encode in available_vertices(wire(each), {"prompt", "negative_prompt"})


def test_embeddings_of_a_family_with_a_pooled_vector_come_with_it():
    wanted = {"flux": False, "sdxl": False, "flux2": True}
    for name, alone in wanted.items():
        wiring = wire(resolve_template(name)[0])
        assert (Vertex("text", "adopt") in available_vertices(wiring, {"prompt_embeds"})) is alone
        both = {"prompt_embeds", "pooled_prompt_embeds"}
        assert Vertex("text", "adopt") in available_vertices(wiring, both)

"""Graphs of toy blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tests.core import toys  # noqa: F401 - registers the blocks
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.rules import Rule

RULES = (
    Rule("layout.shape.image", ("$init_image",)),
    Rule("toy_codec/shift.encode.init_image", ("$init_image",)),
    Rule("guidance.branches.positive", ("conditioner.encode",)),
    Rule("guidance.branches.negative", ("conditioner.encode_negative",)),
    Rule("backbone.predict.sample", ("solver.tick.sample",)),
    Rule("backbone.predict.conditioning", ("guidance.branches", "conditioner.encode")),
    Rule("inner_module.look.sample", ("solver.tick.sample",)),
    Rule("toy_processor/blend.blend.known", ("codec.sample",)),
)

NODES: dict[str, dict[str, Any]] = {
    "text": {"type": "toy_conditioner/text"},
    "guidance": {"type": "toy_guidance/push"},
    "net": {"type": "toy_backbone/linear"},
    "solver": {"type": "toy_solver/halving"},
    "vae": {"type": "toy_codec/shift"},
    "layout": {"type": "toy_layout/width"},
    "noise": {"type": "toy_source/noise"},
    "blend": {"type": "toy_processor/blend"},
}


def diffusion(order: Sequence[str] = tuple(NODES), **changes: Any) -> ComputeGraph:
    """A whole toy family: text to image, image to image, inpainting."""
    graph = ComputeGraph("toy", rules=RULES)
    for name in order:
        graph.add_node(name, **{**NODES[name], **changes.get(name, {})})
    if "vae" in order:
        graph.expose_output("image", "vae.decode")
    graph.expose_output("latents", "solver.finish")
    return graph


def chain(*blocks: Any, name: str = "chain") -> ComputeGraph:
    """Blocks n0, n1, ... one behind the other."""
    graph = ComputeGraph(name)
    for place, block in enumerate(blocks):
        graph.add_node(f"n{place}", block)
        if place:
            graph.connect(f"n{place - 1}.run", f"n{place}.run")
    return graph


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value])

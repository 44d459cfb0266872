"""Pipelines and results as notebooks show them. Whatever was given is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from yggdrasil.core.cache import CacheInfo
from yggdrasil.core.errors import YggdrasilError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.pipelines.inline import image_tag, picture_tag
from yggdrasil.pipelines.units import in_bytes

__all__ = ["html_of_pipeline", "html_of_result", "to_pictures"]

_MOST = 16


def html_of_pipeline(
    graph: ComputeGraph, facts: Mapping[str, object], cache: CacheInfo | None
) -> str:
    """Shows a pipeline: what it is, and its graph.

    Args:
        graph: The graph.
        facts: What is to be said of the pipeline, by name.
        cache: The state of its cache, if it has one.
    """
    held = "none"
    if cache is not None:
        held = f"{cache.entries} values, {in_bytes(cache.size)} of {in_bytes(cache.limit)}"
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in {**facts, "cache": held}.items()
    )
    try:
        drawing = image_tag(graph.draw("svg"), f"graph {graph.name}")
    except YggdrasilError as error:  # a graph that is being edited may not be whole
        drawing = f"<pre>{escape(type(error).__name__)}: {escape(str(error))}</pre>"
    return f"<table>{rows}</table>{drawing}"


def html_of_result(images: object, metadata: Mapping[str, Any]) -> str:
    """Shows a result: its pictures, small, and what made them.

    Args:
        images: In any form that a call gives; what is no picture is told by its shape.
        metadata: As a result has it.
    """
    pictures = to_pictures(images)
    tags = [
        picture_tag(each, f"picture {number}") for number, each in enumerate(pictures[:_MOST], 1)
    ]
    if len(pictures) > _MOST:
        tags.append(f"<p>and {len(pictures) - _MOST} more</p>")
    shape = getattr(images, "shape", None)
    if not pictures and shape is not None:
        tags.append(f"<p>{escape(type(images).__name__)} {escape(str(list(shape)))}</p>")
    told = {name: metadata.get(name) for name in ("graph", "task", "model", "seed")}
    told |= dict(metadata.get("inputs", {}))
    if "stopped_after" in metadata:
        told["stopped after"] = metadata["stopped_after"]
    said = ", ".join(f"{name}: {value}" for name, value in told.items() if value is not None)
    return f"<div>{''.join(tags)}<p>{escape(said)}</p></div>"


def to_pictures(images: object) -> Sequence[Image.Image]:
    """Gives the PIL pictures that pictures in any form are; none for latents.

    Args:
        images: A list of PIL pictures, an array ``b h w c`` or a tensor ``b c h w`` in [0, 1].
    """
    if isinstance(images, list | tuple):
        return [each for each in images if isinstance(each, Image.Image)]
    if isinstance(images, Tensor):
        images = images.detach().float().cpu().numpy()
        images = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[-1] != 3:
        return []
    pixels = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
    return [Image.fromarray(each) for each in pixels]

"""Pictures of a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.executor import StepEvent
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Call, Loop, Plan
from yggdrasil.core.roles import AbstractCodec, AbstractLayout
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.live.colours import ColourMap
from yggdrasil.pipelines.live.estimate import estimate_latents, keep_predictions

__all__ = ["Preview", "PreviewFrame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewFrame:
    """What a run has so far.

    Attributes:
        index: How many steps are done.
        count: How many there are in all, where the solver tells.
        images: One PIL picture for each sample: small, a pixel for each of the latents, or of full
            size where ``decode`` was asked for.
    """

    index: int
    count: int | None
    images: list[Image.Image]

    def _repr_png_(self) -> bytes | None:
        """Shows the first picture in a notebook, so that ``preview=display`` will do."""
        return self.images[0]._repr_png_()


class Preview:
    """Shows what a run would end at, every few steps.

    A step's prediction gives an estimate of the clean latents, and a linear map makes it colours.
    The map is fitted to the model's decoder once for each preview, at its first picture. Nothing
    that the run computes is changed. A safety checker sees the finished picture alone.

    Args:
        show: Called with each picture; what it gives back is not read.
        every: Steps between pictures.
        decode: Decode the estimate with the codec instead, as slow as it is.

    Raises:
        InputError: ``every`` is no positive whole number.
    """

    def __init__(
        self, show: Callable[[PreviewFrame], object], *, every: int = 5, decode: bool = False
    ) -> None:
        if every < 1:
            raise InputError(f"every is {every}: give a whole number of at least 1.")
        self._show = show
        self._every = every
        self._decode = decode
        self._codec: AbstractCodec | None = None
        self._unpack: Call | None = None
        self._map: tuple[object, ColourMap] | None = None

    def prepare(self, plan: Plan, graph: ComputeGraph) -> Plan:
        """Finds the codec, and gives the plan to run in place of the given one.

        Args:
            plan: What would run.
            graph: What it was made of.

        Raises:
            InputError: Nothing in the graph makes pictures of latents.
        """
        self._codec = _find_codec(plan, graph)
        self._unpack = _find_unpacking(plan, graph)
        return keep_predictions(plan)

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_step(self, event: StepEvent) -> None:
        """Shows a picture when it is time."""
        if event.index % self._every or self._codec is None:
            return
        latents = estimate_latents(event)
        if latents is not None:
            if self._unpack is not None:
                further = {name: event.values[slot] for name, slot in self._unpack.arguments
                           if name != "latents" and isinstance(slot, int)}  # fmt: skip
                unpack = getattr(self._unpack.block, self._unpack.spec.name)
                latents = unpack(latents=latents, **further)
            pictures = self._pictures(self._codec, latents)
            self._show(PreviewFrame(index=event.index, count=event.count, images=pictures))

    def _pictures(self, codec: AbstractCodec, latents: Tensor) -> list[Image.Image]:
        image = codec.decode(latents) if self._decode else self._colours(codec)(latents)
        pixels = ((image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
        return [Image.fromarray(each.numpy()) for each in pixels.movedim(1, -1)]

    def _colours(self, codec: AbstractCodec) -> ColourMap:
        codec.load()
        version = (codec, codec.weights_version())
        if self._map is None or self._map[0] != version:
            self._map = (version, ColourMap.fit(codec))
        return self._map[1]


def _find_unpacking(plan: Plan, graph: ComputeGraph) -> Call | None:
    """Gives the call that unpacks latents after the loop, if the family packs them.

    Raises:
        InputError: It does, and this run unpacks nothing.
    """
    for call in (item for item in plan.items if isinstance(item, Call)):
        if isinstance(call.block, AbstractLayout) and call.spec.name == "unpack":
            return call
    if any(isinstance(b, AbstractLayout) and "unpack" in b.ops() for _, b in blocks_of(graph)):
        raise InputError(
            f"preview: the loop of graph {graph.name!r} has packed latents, and with output_type "
            "'latent' nothing unpacks them: ask for pictures, or leave preview out."
        )
    return None


def _find_codec(plan: Plan, graph: ComputeGraph) -> AbstractCodec:
    """Gives the codec that decodes after the loop, or else one that the graph has."""
    loops = [place for place, item in enumerate(plan.items) if isinstance(item, Loop)]
    after: list[Any] = [*plan.items[loops[0] :], *plan.items] if loops else []
    blocks = [item.block for item in after if isinstance(item, Call)]
    blocks += [block for _, block in blocks_of(graph)] if loops else []
    codec = next((block for block in blocks if isinstance(block, AbstractCodec)), None)
    if codec is None:
        what = "codec" if loops else "loop"
        raise InputError(
            f"preview: graph {graph.name!r} runs no {what}, so there is nothing to show: leave "
            "preview out."
        )
    return codec

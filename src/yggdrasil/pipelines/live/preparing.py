"""Observers that have a plan changed before it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from yggdrasil.core.errors import InputError
from yggdrasil.core.executor import Observer
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.pipelines.live.preview import Preview, PreviewFrame

__all__ = ["PreparingObserver", "as_previews", "prepared"]


@runtime_checkable
class PreparingObserver(Observer, Protocol):
    """An observer that needs a plan of its own, such as one that keeps more of a step's values."""

    def prepare(self, plan: Plan, graph: ComputeGraph) -> Plan:
        """Gives the plan to run in place of the given one, which must give the same results."""
        ...


def prepared(plan: Plan, graph: ComputeGraph, observers: Iterable[Observer]) -> Plan:
    """Has observers change a plan as they need it.

    Args:
        plan: What would run.
        graph: What it was made of.
        observers: Who will be told of the run.
    """
    for observer in observers:
        if isinstance(observer, PreparingObserver):
            plan = observer.prepare(plan, graph)
    return plan


def as_previews(preview: Preview | Callable[[PreviewFrame], object] | None) -> list[Preview]:
    """Reads the ``preview`` of a call: a preview, or a function that is shown each picture.

    Raises:
        InputError: It is something else.
    """
    if preview is None or isinstance(preview, Preview):
        return [] if preview is None else [preview]
    if not callable(preview):
        raise InputError(
            f"preview is {preview!r}: give a function that takes a PreviewFrame, or a Preview."
        )
    return [Preview(preview)]

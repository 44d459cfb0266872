"""What is done to every model of a pipeline once, also to those that are loaded later."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

__all__ = ["Treatment", "Treatments"]


class Treatment:
    """Something done to models, and undone.

    Args:
        do: Does it to a model of a name.
        undo: Undoes it; None where it cannot be undone.
        fits: Says which models it is for, by name and model.
        said: The method of a pipeline that asks for it, and its arguments, where it changes numbers
            and files are to say it.
    """

    def __init__(
        self,
        do: Callable[[str, Any], object],
        undo: Callable[[str, Any], object] | None = None,
        fits: Callable[[str, Any], bool] = lambda name, model: True,  # noqa: ARG005 - all of them
        said: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.said = said
        self._do = do
        self._undo = undo
        self._fits = fits
        self._done: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()

    def give(self, name: str, model: nn.Module) -> None:
        """Does it to a model, unless it was done.

        Args:
            name: Of the component.
            model: The component.
        """
        if model not in self._done and self._fits(name, model):
            self._do(name, model)
            self._done[model] = name

    def take_back(self) -> None:
        """Undoes it where it was done."""
        for model, name in list(self._done.items()):
            if self._undo is not None:
                self._undo(name, model)
        self._done.clear()


class Treatments:
    """The treatments of a pipeline, one of each sort, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._by_sort: dict[str, Treatment] = {}

    def __contains__(self, sort: str) -> bool:
        """Says whether there is one of a sort."""
        return sort in self._by_sort

    def said(self) -> dict[str, Mapping[str, Any]]:
        """Gives what files say of them: methods of the pipeline with their arguments, in order."""
        return dict(each.said for each in self._by_sort.values() if each.said is not None)

    def put(self, sort: str, treatment: Treatment | None) -> None:
        """Puts a treatment in the place of the one of its sort, which is undone.

        Args:
            sort: What it is about.
            treatment: The new one; None for none.
        """
        before = self._by_sort.pop(sort, None)
        if before is not None:
            before.take_back()
        if treatment is not None:
            self._by_sort[sort] = treatment

    def give(self, models: Iterable[tuple[str, nn.Module]]) -> None:
        """Does to models what was not done to them yet.

        Args:
            models: By name.
        """
        if not self._by_sort:
            return
        held = list(models)
        for treatment in self._by_sort.values():
            for name, model in held:
                treatment.give(name, model)

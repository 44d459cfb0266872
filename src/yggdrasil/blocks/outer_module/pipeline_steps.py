"""The steps of a Diffusers pipeline, told to who watches the run.

A pipeline tells of its progress through its ``progress_bar``, and hands values to
``callback_on_step_end`` where it takes one. Both are used as they are, and nothing inside it is
changed.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from diffusers import DiffusionPipeline
from tqdm.auto import tqdm

from yggdrasil.blocks.outer_module.pipeline_ports import call_of
from yggdrasil.core.inner_steps import InnerStep, Watcher

__all__ = ["callback_values", "told_steps"]

_CALLBACK, _NAMES = "callback_on_step_end", "callback_on_step_end_tensor_inputs"


def callback_values(cls: type) -> tuple[str, ...] | None:
    """Gives the names that a pipeline's step callback may ask for; None where it takes none."""
    if _CALLBACK not in inspect.signature(call_of(cls)).parameters:
        return None
    return tuple(getattr(cls, "_callback_tensor_inputs", ()))


@contextlib.contextmanager
def told_steps(pipe: Any, watcher: Watcher | None) -> Iterator[Mapping[str, Any]]:
    """Has a pipeline tell of its steps, and gives the arguments that its call needs for that.

    Args:
        pipe: The pipeline; it is as before afterwards.
        watcher: Who is told; a pipeline that nobody watches shows its own bar.
    """
    if watcher is None:
        yield {}
        return
    inside = [pipe, *(each for each in vars(pipe).values() if isinstance(each, DiffusionPipeline))]
    for each in inside:
        each.progress_bar = _bars(each, watcher)
    try:
        yield _callback(pipe, watcher)
    finally:
        for each in inside:
            del each.progress_bar


def _callback(pipe: Any, watcher: Watcher) -> Mapping[str, Any]:
    if not watcher.step_values or callback_values(type(pipe)) is None:
        return {}
    since = time.perf_counter()

    def tell(owner: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        step = InnerStep(
            index=index + 1,
            count=getattr(owner, "_num_timesteps", None),
            since=since,
            can_stop=_stops(owner),
            values=dict(values),
            timestep=timestep,
            owner=owner,
        )
        watcher.on_inner_step(step)
        _heed(owner, step)
        return step.values or {}

    named = _NAMES in inspect.signature(call_of(type(pipe))).parameters
    return {_CALLBACK: tell, **({_NAMES: list(watcher.step_values)} if named else {})}


def _bars(pipe: Any, watcher: Watcher) -> Callable[..., Any]:
    """Gives what stands for a pipeline's ``progress_bar``: it shows nothing, and tells."""

    # Some pipelines (Marigold's) also say how their bars look: `desc`, `leave`.
    def bar(iterable: Iterable[Any] | None = None, total: int | None = None, **_looks: Any) -> _Bar:
        return _Bar(pipe, watcher, iterable, total)

    return bar


class _Bar(tqdm):  # type: ignore[type-arg] # of anything
    """A bar that shows nothing and tells of each step."""

    def __init__(
        self, pipe: Any, watcher: Watcher, iterable: Iterable[Any] | None, total: int | None
    ) -> None:
        super().__init__(iterable, total=total, disable=True)
        self._pipe = pipe
        self._watcher = watcher
        self._done = 0
        self._since = time.perf_counter()

    def __iter__(self) -> Iterator[Any]:
        for each in self.iterable:
            yield each
            self.update()

    def update(self, n: float | None = 1) -> None:
        self._done += int(n or 0)
        count = None if self.total is None else int(self.total)
        step = InnerStep(
            index=self._done, count=count, since=self._since, can_stop=_stops(self._pipe)
        )
        self._watcher.on_inner_step(step)
        _heed(self._pipe, step)


def _stops(pipe: Any) -> bool:
    """Says whether a pipeline looks between its steps whether to go on."""
    return hasattr(type(pipe), "interrupt")


def _heed(pipe: Any, step: InnerStep) -> None:
    if step.stop and step.can_stop:
        pipe._interrupt = True  # noqa: SLF001 - Diffusers' own flag

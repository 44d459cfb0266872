"""What can be seen of a pipeline: its cache, a profile of its runs, itself in a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from yggdrasil.core.cache import CacheInfo
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.runtime import Runtime
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.notebook import html_of_pipeline
from yggdrasil.pipelines.profiling.profile import Profile

__all__ = ["PipelineViews"]


class PipelineViews:
    """The methods of a pipeline that look at it and make nothing."""

    graph: ComputeGraph
    task: str | None
    _library: Library | None
    _runtime: Runtime
    _placement: tuple[Any, Any]
    _profile: Profile | None

    def cache_info(self) -> CacheInfo | None:
        """Gives the state of the cache of values, if there is one."""
        return None if self._runtime.cache is None else self._runtime.cache.info()

    @contextlib.contextmanager
    def profile(self, *, memory: bool = True) -> Iterator[Profile]:
        """Measures the time and the memory of every vertex of the calls within.

        ::

            with pipe.profile() as profile:
                pipe("a cat", seed=0)
            print(profile)
            profile.save("flame.svg")

        What the cache holds is not run again, and shown as kept. Outside the block nothing is
        measured and nothing is spent on it.

        Args:
            memory: Whether to measure memory too: exact on CUDA, the growth of the process on
                the CPU (Linux).
        """
        before, self._profile = self._profile, Profile(memory=memory)
        try:
            yield self._profile
        finally:
            self._profile = before

    def __repr__(self) -> str:
        """Shows template, task and model."""
        return f"InferencePipeline({self.graph.name!r}, task={self.task!r}, from {self._from()})"

    def _from(self) -> str:
        return self._library.describe() if self._library is not None else "no model"

    def _repr_html_(self) -> str:
        """Shows graph, task, model, placement and cache in a notebook."""
        device, dtype = self._placement
        facts = {
            "pipeline": self.graph.name,
            "task": self.task or f"by the arguments: {', '.join(self.graph.tasks) or 'none'}",
            "model": self._from(),
            "device": device or "as loaded",
            "dtype": dtype or "as loaded",
        }
        return html_of_pipeline(self.graph, facts, self.cache_info())

    def _repr_svg_(self) -> str | None:
        """Shows the graph, where it can be wired."""
        return self.graph._repr_svg_()

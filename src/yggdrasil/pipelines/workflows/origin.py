"""What made a result: taken down before the run, told when the result is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from yggdrasil.core.errors import GraphFileError, InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.serialization.writing import to_data
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.workflows.describing import (
    common_placement,
    describe_component,
    describe_machine,
    describe_weights,
    model_of,
    sources_of,
    store_state,
    versions,
)
from yggdrasil.pipelines.workflows.schema import Workflow
from yggdrasil.pipelines.workflows.stores import PictureStore
from yggdrasil.pipelines.workflows.values import RandomState, encode, held

__all__ = ["Origin"]

Placement = tuple[torch.device | None, torch.dtype | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """A call, as it was before it ran.

    Attributes:
        graph: A copy of the graph, sharing its blocks.
        task: The task that calls of the pipeline are for, if it is fixed.
        library: The model of the pipeline.
        placement: Device and dtype that were set.
        call: The arguments that were given, copied.
        watched: What listened to the run and may have changed it.
    """

    graph: ComputeGraph
    task: str | None
    library: Library | None
    placement: Placement
    call: Mapping[str, Any]
    watched: tuple[str, ...]

    @classmethod
    def take(
        cls,
        graph: ComputeGraph,
        call: Mapping[str, Any],
        *,
        task: str | None = None,
        library: Library | None = None,
        placement: Placement = (None, None),
        watched: tuple[str, ...] = (),
    ) -> Origin:
        """Takes a call down; it costs microseconds, and copies of the tensors and pictures given.

        Args:
            graph: What is about to run.
            call: The arguments; without ``seed`` and ``generator`` the state of PyTorch's own
                generators is taken down.
            task: See above.
            library: See above.
            placement: See above.
            watched: See above.
        """
        given = {name: held(value) for name, value in call.items() if value is not None}
        if "seed" not in given and "generator" not in given:
            given["generator"] = RandomState.now(placement[0])
        return cls(
            graph=graph.copy(),
            task=task,
            library=library,
            placement=placement,
            call=given,
            watched=watched,
        )

    def tell(self) -> tuple[Workflow, PictureStore]:
        """Tells what was taken down, and what the weights are now.

        Returns:
            A workflow, which says under ``lost`` what cannot be told; and what is no text of it.
        """
        store = PictureStore()
        lost: dict[str, str] = {}
        inputs: dict[str, Any] = {}
        for name, value in self.call.items():
            try:
                inputs[name] = encode(value, store, name)
            except InputError as error:
                lost[name] = str(error)
        graph: dict[str, Any] = {}
        try:
            graph = {"schema": 1, **to_data(self.graph, models=False)}
        except GraphFileError as error:
            lost["graph"] = str(error)
        device, dtype = self.placement
        try:
            device, dtype = common_placement(self.graph, self.placement)
        except InputError as error:
            lost["dtype"] = str(error)
        described = {
            path: describe_component(slot, source, self.library)
            for path, _, slot, source in sources_of(self.graph)
        }
        workflow = Workflow(
            workflow=1,
            graph=graph,
            task=self.task,
            model=model_of(self.library),
            components={path: told for path, told in described.items() if told is not None},
            state=store_state(self.graph, store),
            device=None if device is None else str(device),
            dtype=None if dtype is None else str(dtype).removeprefix("torch."),
            inputs=inputs,
            weights=describe_weights(self.graph),
            versions=dict(versions()),
            machine=describe_machine(device),
            watched=self.watched,
            lost=lost,
        )
        return workflow, store

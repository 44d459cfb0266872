"""Running workflows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch

from yggdrasil.pipelines.inference import InferencePipeline
from yggdrasil.pipelines.makers import make_pipeline
from yggdrasil.pipelines.result import GenerationResult
from yggdrasil.pipelines.workflows.files import open_workflow_file
from yggdrasil.pipelines.workflows.opening import Opened, Opening
from yggdrasil.pipelines.workflows.schema import Workflow
from yggdrasil.pipelines.workflows.values import RandomState

__all__ = ["Runner"]

_NUMBERS = ("seed", "generator")


class Runner:
    """A workflow with its pipeline: it can be run many times, and weights are loaded once.

    Args:
        opened: The workflow, its parts found.

    Attributes:
        pipeline: What runs.
    """

    def __init__(self, opened: Opened) -> None:
        self.pipeline = make_pipeline(InferencePipeline, opened)
        self._opened = opened

    @property
    def workflow(self) -> Workflow:
        """What the workflow says."""
        return self._opened.workflow

    @classmethod
    def open(
        cls,
        workflow: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        allow_download: bool = False,
    ) -> Self:
        """Opens a workflow; no weights are loaded yet.

        Args:
            workflow: What ``pipe.save_workflow`` wrote.
            model: A model in place of the one that it names.
            device: A device in place of the one that it ran on.
            allow_download: Whether a model that is not on this machine may be fetched from the hub.

        Raises:
            GraphFileError: The file cannot be read, with the line.
            ModelError: A model is not on this machine.
        """
        opening = Opening(
            model=None if model is None else os.fspath(model),
            device=device,
            allow_download=allow_download,
        )
        return cls(open_workflow_file(Path(workflow), opening))

    @classmethod
    def execute(
        cls,
        workflow: str | os.PathLike[str],
        inputs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> GenerationResult:
        """Opens a workflow and runs it once.

        Args:
            workflow: As for ``open``.
            inputs: As for ``run``.
            **options: As for ``open``.

        Raises:
            YggdrasilError: As ``open`` and ``run``.
        """
        return cls.open(workflow, **options).run(inputs)

    def run(self, inputs: Mapping[str, Any] | None = None) -> GenerationResult:
        """Runs it.

        Args:
            inputs: Arguments in place of the workflow's own; None takes one away. A ``seed``
                or ``generator`` stands for whichever of the two the workflow has.

        Raises:
            GraphFileError: An input of the workflow's own is missing or damaged.
            UnknownInputError: An argument that no node takes, with the nearest name.
            InputError: A value that cannot be right.
        """
        given = inputs or {}
        call = {**self._opened.inputs(skip=given), **given}
        if any(given.get(name) is not None for name in _NUMBERS):
            call |= {name: given.get(name) for name in _NUMBERS}
        with _restored(call):
            result: GenerationResult = self.pipeline(**call)
        if result.origin is not None:
            result.origin.tell()  # while the models are there: ``execute`` lets them go
        return result


@contextlib.contextmanager
def _restored(call: dict[str, Any]) -> Iterator[None]:
    """Puts PyTorch's own generators where they stood, where a call drew from those, for a while."""
    state = call.get("generator")
    if not isinstance(state, RandomState):
        yield
        return
    del call["generator"]
    devices = [name for name in state.states if name != "cpu"]
    with torch.random.fork_rng(devices=devices):
        state.restore()
        yield

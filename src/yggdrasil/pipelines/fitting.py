"""Whether a graph's models are such as a task is for: asked of configurations, before weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from yggdrasil.core.errors import InputError
from yggdrasil.core.facts import fact_of
from yggdrasil.core.tasks import Task
from yggdrasil.core.values import BackboneSpecValue
from yggdrasil.core.wiring import FromPort, Vertex, Wiring

__all__ = ["check_models"]

_BESIDE: Mapping[str, str] = {
    "nothing": "the latents alone",
    "picture": "another picture beside the latents",
    "mask": "a mask and the picture under it beside the latents",
}


def check_models(wiring: Wiring, task: Task, others: Iterable[Task], stage: str = "") -> None:
    """Refuses a task that is for models which read something else beside the latents.

    Such a run would leave out what the model does not read, and so do another task.

    Args:
        wiring: Of the graph.
        task: The task.
        others: All tasks of the graph.
        stage: The path of the stage that the task is of; that of the whole graph is empty.

    Raises:
        InputError: A backbone reads something else; backbones without a configuration are passed.
    """
    if task.reads is None:
        return
    for path, spec in _backbones(wiring, stage):
        if spec.reads != task.reads:
            raise InputError(
                f"Task {task.name!r} is for models that read {_BESIDE[task.reads]}; {path} reads "
                f"{spec.in_channels} channels, {_BESIDE[spec.reads]}. {_advice(task, others, spec)}"
            )


def _backbones(wiring: Wiring, stage: str) -> Iterable[tuple[str, BackboneSpecValue]]:
    for path, node in wiring.nodes.items():
        op = node.ops.get("spec")
        if node.role == "backbone" and node.scope == stage and op is not None:
            known = fact_of(wiring, FromPort(Vertex(path, op.name), next(iter(op.outputs))))
            yield from ((path, each) for each in known.values())


def _advice(task: Task, others: Iterable[Task], spec: BackboneSpecValue) -> str:
    """Says which tasks are for the model, those first that take what this one requires."""
    fitting = [each for each in others if each.reads == spec.reads]
    near = [each for each in fitting if set(task.requires) <= set(each.takes)]
    names = " or ".join(f"task={each.name!r}" for each in near or fitting)
    model = f"a model of Diffusers' {task.diffusers}" if task.diffusers else "another model"
    return f"Take {names}, or {model}." if names else f"Take {model}."

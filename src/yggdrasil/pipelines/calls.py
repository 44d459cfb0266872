"""From the arguments of a call to the inputs of a graph, for one graph or for stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import InputError, UnknownInputError, YggdrasilError, nearest
from yggdrasil.core.tasks import Task, choose_task, read_tasks
from yggdrasil.core.wiring import FromInput, FromPort, Wiring
from yggdrasil.pipelines.seeds import make_generators

__all__ = ["bind_call"]


def bind_call(
    graph: GraphLike, wiring: Wiring, task: str | None, call: Mapping[str, Any]
) -> tuple[Task | None, dict[str, Any]]:
    """Finds the task of a call and turns its arguments into inputs of the graph.

    In a graph of stages whose own graphs have tasks each stage has a task of its own. An argument
    goes to every stage whose task takes it, unless another stage gives it there; what is for one
    stage alone is given as ``stage={...}`` or ``stage.argument``.

    Args:
        graph: The graph.
        wiring: Its wiring.
        task: The task's name, if it is fixed.
        call: The arguments; None counts as not given.

    Returns:
        The task, where the whole graph has tasks, and the inputs.

    Raises:
        UnknownInputError: No task takes an argument.
        MissingInputError: A required argument is missing.
        InputError: Two tasks fit equally well.
    """
    chosen = choose_task(graph.tasks, task, call)
    if chosen is not None:
        return chosen, _bind(graph, chosen, call, set(wiring.names))
    stages = {
        name: node.block.inner_graph
        for name, node in graph.nodes.items()
        if node.block is not None and node.block.inner_graph is not None
    }
    if not any(inner.tasks for inner in stages.values()):
        return None, dict(call)
    return None, _bind_stages(wiring, stages, call)


def _bind(graph: GraphLike, task: Task, call: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    others = read_tasks(graph.tasks).values()
    # What the graph's owner set goes before what the task would take for granted.
    owned = {port for node in graph.nodes.values() for port in node.inputs}
    return task.bind(call, others=others, known=names - owned - graph.defaults.keys())


def _bind_stages(
    wiring: Wiring, stages: Mapping[str, GraphLike], call: Mapping[str, Any]
) -> dict[str, Any]:
    shared, own = _divide(call, stages)
    # One source of numbers for all: as an input of each stage it would be drawn from in any order.
    inputs = {name: shared.pop(name) for name in ("generator",) if name in shared}
    taken: set[str] = set()
    for stage, graph in stages.items():
        names = {n.partition(".")[2] for n in wiring.names if n.startswith(f"{stage}.")}
        linked = _linked(wiring, stage)
        given = {name: value for name, value in graph.defaults.items() if name in names}
        if not graph.tasks:
            arguments = {name: value for name, value in shared.items() if name in names}
            given |= {**arguments, **own[stage]}
        else:
            task = _choose(stage, graph, own[stage], shared, linked)
            arguments = {
                name: value
                for name, value in shared.items()
                if name in task.takes and _target(task, name) not in linked
            }
            try:
                given |= _bind(graph, task, {**arguments, **own[stage]}, names)
            except YggdrasilError as error:
                error.add_note(f"That is in stage {stage!r}.")
                raise
        taken |= arguments.keys()
        inputs |= {f"{stage}.{name}": value for name, value in given.items()}
    free = {name for name in wiring.names if "." not in name}
    for name, value in shared.items():
        if name not in taken:
            _refuse_unknown(name, free, stages)
            inputs[name] = value
    return inputs


def _divide(
    call: Mapping[str, Any], stages: Mapping[str, GraphLike]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Divides a call into what is for all stages and what is for each alone."""
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {stage: {} for stage in stages}
    for name, value in call.items():
        head, _, rest = name.partition(".")
        if value is None:
            continue
        if head not in stages:
            shared[name] = value
        elif rest:
            own[head][rest] = value
        elif isinstance(value, Mapping):
            own[head] |= value
        else:
            raise InputError(
                f"{name} is a stage, and {value!r} is no mapping: give its arguments, such as "
                f"{name}={{'guidance_scale': 5.0}}."
            )
    for each in own.values():
        seed = each.pop("seed", None)
        if seed is not None:
            each["generator"] = make_generators(seed, each.get("generator"))
    return shared, own


def _linked(wiring: Wiring, stage: str) -> set[str]:
    """Gives the inputs of a stage that an edge from outside feeds."""
    found: set[str] = set()
    for vertex, ports in wiring.inputs.items():
        if not vertex.node.startswith(f"{stage}."):
            continue
        for candidates in ports.values():
            sources = [source for choice in candidates.choices for source in choice]
            if any(
                isinstance(s, FromPort) and not s.vertex.node.startswith(f"{stage}.")
                for s in sources
            ):
                found |= {
                    s.name.removeprefix(f"{stage}.")
                    for s in sources
                    if isinstance(s, FromInput) and s.name.startswith(f"{stage}.")
                }
    return found


def _choose(
    stage: str,
    graph: GraphLike,
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    linked: set[str],
) -> Task:
    """Gives the task of a stage: the one that requires most of what the stage is given.

    Where none fits it is the nearest, and binding the arguments will say what is wrong.
    """
    tasks = [
        replace(task, requires=tuple(n for n in task.requires if _target(task, n) not in linked))
        for task in read_tasks(graph.tasks).values()
    ]
    reads = {task.name: {_target(task, name) for name in task.takes} for task in tasks}
    matters = linked & set().union(*reads.values())
    taking = [task for task in tasks if matters <= reads[task.name]] or tasks
    ready = [task for task in taking if {*own, *shared}.issuperset(task.requires)]
    fitting = [t for t in ready if all(name in t.takes or "." in name for name in own)]
    if not fitting:
        return max(ready or taking, key=lambda task: len(own.keys() & set(task.takes)))
    most = max(len(reads[task.name] & linked) + len(task.requires) for task in fitting)
    best = [t for t in fitting if len(reads[t.name] & linked) + len(t.requires) == most]
    if len(best) > 1:
        names = " or ".join(repr(task.name) for task in best)
        raise InputError(f"The call of stage {stage!r} could be for the task {names}.")
    return best[0]


def _target(task: Task, argument: str) -> str:
    return task.arguments.get(argument, argument)


def _refuse_unknown(name: str, free: set[str], stages: Mapping[str, GraphLike]) -> None:
    if name in free or "." in name:
        return
    takes = {
        n for graph in stages.values() for t in read_tasks(graph.tasks).values() for n in t.takes
    }
    raise UnknownInputError(
        f"No stage takes the argument {name!r}.{nearest(name, {*free, *takes, *stages})}"
    )

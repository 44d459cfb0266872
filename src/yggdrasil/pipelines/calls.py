"""From the arguments of a call to the inputs of a graph, for one graph or for stages."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, NamedTuple

from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import InputError, UnknownInputError, YggdrasilError, nearest
from yggdrasil.core.tasks import Task, choose_task, read_tasks
from yggdrasil.core.wiring import FromInput, FromPort, Wiring
from yggdrasil.pipelines.elsewhere import told_elsewhere
from yggdrasil.pipelines.fitting import check_models
from yggdrasil.pipelines.seeds import make_generators
from yggdrasil.pipelines.sharing import call_names, share_out

__all__ = ["bind_call"]


def bind_call(
    graph: GraphLike, wiring: Wiring, task: str | None, call: Mapping[str, Any]
) -> tuple[Task | None, dict[str, Any]]:
    """Finds the task of a call and turns its arguments into inputs of the graph.

    In a graph of stages whose own graphs have tasks each stage has a task of its own: the one that
    it was added for, or else the one that fits the call. An argument
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
        InputError: Two tasks fit equally well, or the task is not for the graph's models.
    """
    free = call_names(wiring)
    chosen = choose_task(graph.tasks, task, call, free)
    if chosen is not None:
        bound = _bind(graph, chosen, call, set(wiring.names), free)
        check_models(wiring, chosen, read_tasks(graph.tasks).values())
        return chosen, share_out(wiring, bound)
    stages = {
        name: _Stage(name, node.block.inner_graph, node.task)
        for name, node in graph.nodes.items()
        if node.block is not None and node.block.inner_graph is not None
    }
    if not any(stage.graph.tasks for stage in stages.values()):
        return None, share_out(wiring, {k: v for k, v in call.items() if v is not None})
    return None, share_out(wiring, _bind_stages(wiring, stages, call))


class _Stage(NamedTuple):
    """A stage: its node, its graph, and the task that it was added for."""

    name: str
    graph: GraphLike
    task: str | None


def _bind(
    graph: GraphLike,
    task: Task,
    call: Mapping[str, Any],
    names: AbstractSet[str],
    free: AbstractSet[str],
) -> dict[str, Any]:
    others = read_tasks(graph.tasks).values()
    # What the graph's owner set goes before what the task would take for granted.
    owned = {port for node in graph.nodes.values() for port in node.inputs}
    return task.bind(
        call,
        others=others,
        known=names - owned - graph.defaults.keys(),
        free=free,
        elsewhere=functools.partial(told_elsewhere, graph.name, task),
    )


def _bind_stages(
    wiring: Wiring, stages: Mapping[str, _Stage], call: Mapping[str, Any]
) -> dict[str, Any]:
    shared, own = _divide(call, stages)
    # One source of numbers for all: as an input of each stage it would be drawn from in any order.
    inputs = {name: shared.pop(name) for name in ("generator",) if name in shared}
    taken: set[str] = set()
    for name, stage in stages.items():
        names = {n.partition(".")[2] for n in wiring.names if n.startswith(f"{name}.")}
        linked = _linked(wiring, name)
        if not stage.graph.tasks:
            arguments = {n: value for n, value in shared.items() if n in names - linked}
            given = {**arguments, **own[name]}
        else:
            task = _choose(stage, own[name], shared, linked)
            free = call_names(wiring, name)
            arguments = {
                n: value
                for n, value in shared.items()
                if (n in task.takes or n in free) and _target(task, n) not in linked
            }
            try:
                given = _bind(stage.graph, task, {**arguments, **own[name]}, names - linked, free)
                check_models(wiring, task, read_tasks(stage.graph.tasks).values(), name)
            except YggdrasilError as error:
                error.add_note(f"That is in stage {name!r}.")
                raise
        taken |= arguments.keys()
        inputs |= {f"{name}.{n}": value for n, value in given.items()}
    free = {name for name in wiring.names if "." not in name}
    for name, value in shared.items():
        if name not in taken:
            _refuse_unknown(name, free, stages)
            inputs[name] = value
    return inputs


def _divide(
    call: Mapping[str, Any], stages: Mapping[str, _Stage]
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
    stage: _Stage,
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    linked: set[str],
) -> Task:
    """Gives the task of a stage: its own, or the one that requires most of what it is given.

    Where none fits it is the nearest, and binding the arguments will say what is wrong.
    """
    known = read_tasks(stage.graph.tasks)
    tasks = [
        replace(task, requires=tuple(n for n in task.requires if _target(task, n) not in linked))
        for task in known.values()
    ]
    if stage.task is not None:
        return _freed(next(task for task in tasks if task.name == stage.task), linked)
    reads = {task.name: {_target(task, name) for name in task.takes} for task in tasks}
    matters = linked & set().union(*reads.values())
    open_to = [task for task in tasks if not task.only_by_name] or tasks
    taking = [task for task in open_to if matters <= reads[task.name]] or open_to
    ready = [task for task in taking if {*own, *shared}.issuperset(task.requires)]
    fitting = [t for t in ready if all(name in t.takes or "." in name for name in own)]
    if not fitting:

        def nearness(task: Task) -> tuple[int, int]:
            return (len(own.keys() & set(task.takes)), -len(task.requires))

        # What an edge feeds says more than what a caller may have misspelt.
        return _freed(max((matters and ready) or taking, key=nearness), linked)
    most = max(len(reads[task.name] & linked) + len(task.requires) for task in fitting)
    best = [t for t in fitting if len(reads[t.name] & linked) + len(t.requires) == most]
    if len(best) > 1:
        names = " or ".join(repr(task.name) for task in best)
        raise InputError(f"The call of stage {stage.name!r} could be for the task {names}.")
    return best[0]


def _freed(task: Task, linked: set[str]) -> Task:
    """Gives a task that requires nothing where an edge may bring what would be computed from it.

    What then is missing all the same is told when the call is planned.
    """
    return replace(task, requires=()) if linked else task


def _target(task: Task, argument: str) -> str:
    return task.arguments.get(argument, argument)


def _refuse_unknown(name: str, free: set[str], stages: Mapping[str, _Stage]) -> None:
    if name in free or "." in name:
        return
    takes = {
        n
        for stage in stages.values()
        for t in read_tasks(stage.graph.tasks).values()
        for n in t.takes
    }
    raise UnknownInputError(
        f"No stage takes the argument {name!r}.{nearest(name, {*free, *takes, *stages})}"
    )

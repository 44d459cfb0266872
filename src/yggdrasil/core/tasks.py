"""Tasks: how the arguments of a call map to the inputs of a graph.

Graph inputs have unambiguous names of their own (``init_image``, ``mask``). A task says what a
caller calls them, which defaults it has and what it needs, so that a call made for a pipeline of
another library works unchanged. It is data, written in a template::

    tasks:
      img2img:
        takes: [prompt, image, strength]
        arguments: {image: init_image}
        defaults: {strength: 0.8}
        requires: [image]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from yggdrasil.core.errors import (
    ConfigError,
    InputError,
    MissingInputError,
    UnknownInputError,
    nearest,
)

__all__ = ["Task", "check_stage_task", "choose_task", "read_task", "read_tasks"]

_KEYS = (
    "takes",
    "also_takes",
    "arguments",
    "defaults",
    "fixed",
    "requires",
    "declines",
    "ignores",
    "outputs",
    "diffusers",
    "only_by_name",
    "reads",
)
_READS = ("nothing", "picture", "mask")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One way to call a graph.

    Attributes:
        name: Such as ``img2img``.
        takes: All arguments that a call may give.
        arguments: For those that are called otherwise in the graph: the graph input, or
            ``input.key`` for an entry of an input that is a mapping, or ``node.op.port``.
        defaults: Values of arguments that a call does not give.
        fixed: Values of graph inputs that the task decides.
        requires: Arguments that a call must give.
        declines: Arguments that its callers know and it does not take, with what to do instead.
        ignores: By argument: those that are passed over where it is given.
        outputs: The graph outputs that the task is about; none means all that the graph exposes.
        diffusers: The Diffusers pipeline whose arguments these are.
        only_by_name: Whether a call is for it only where that is said: its arguments are those of
            another task, and its model is another.
        reads: What the models that it is for read beside the latents: ``nothing``, a ``picture``,
            or a ``mask`` and the picture under it; None where it is for any.
    """

    name: str
    takes: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    defaults: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    fixed: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    requires: tuple[str, ...] = ()
    declines: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    ignores: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _EMPTY)
    outputs: tuple[str, ...] = ()
    diffusers: str | None = None
    only_by_name: bool = False
    reads: str | None = None

    def bind(
        self,
        call: Mapping[str, Any],
        *,
        others: Iterable[Task] = (),
        known: Container[str] | None = None,
        free: Container[str] = (),
        elsewhere: Callable[[str], str] = lambda _: "",
    ) -> dict[str, Any]:
        """Turns the arguments of a call into inputs of the graph.

        Args:
            call: The arguments; None counts as not given. A name with a dot in it is a port
                (``node.op.port``) and is passed on.
            others: Further tasks of the graph, for messages.
            known: The inputs that the graph has; defaults and fixed values of others are left
                out, so that a node can be taken away without its task being changed. Everything is
                passed on unless given.
            free: Inputs that the graph's nodes take whatever the task.
            elsewhere: Says of an argument that the task does not take where else it is known; for
                messages.

        Raises:
            UnknownInputError: The task does not take an argument.
            MissingInputError: A required argument is not given.
            InputError: Two arguments stand for the same input.
        """
        given = {name: value for name, value in call.items() if value is not None}
        self._check(given, others, free, elsewhere)
        inputs: dict[str, Any] = {}
        origin: dict[str, str] = {}
        ignored = self.ignored(given)
        for name, value in given.items():
            if "." in name:
                inputs[name] = value
                continue
            if name in ignored:
                continue
            target = self.arguments.get(name, name)
            if target in origin:
                raise InputError(
                    f"Task {self.name!r}: {origin[target]!r} and {name!r} both stand for the input "
                    f"{target!r}; give one of them."
                )
            origin[target] = name
            _put(inputs, target, value)
        for name, value in self.defaults.items():
            target = self.arguments.get(name, name)
            if target not in origin and value is not None and _is_known(target, known):
                _put(inputs, target, value)
        for target, value in self.fixed.items():
            if _is_known(target, known):
                _put(inputs, target, value)
        return inputs

    def lacking(self, given: Collection[str]) -> list[str]:
        """Gives the arguments that the task requires and a call has not.

        Args:
            given: The names in the call; a port (``node.op.port``) counts for what it is a port of.
        """
        ports = {name.rpartition(".")[2] for name in given if "." in name}
        return [
            name
            for name in self.requires
            if name not in given and self.arguments.get(name, name) not in ports
        ]

    def ignored(self, call: Mapping[str, Any]) -> set[str]:
        """Gives the arguments of a call that are passed over beside the others.

        Args:
            call: The arguments; None counts as not given.
        """
        given = {name for name, value in call.items() if value is not None}
        return {each for name in given & self.ignores.keys() for each in self.ignores[name]} & given

    def targets(self) -> set[str]:
        """Gives the graph inputs that the task's arguments and fixed values stand for."""
        arguments = (self.arguments.get(name, name) for name in self.takes)
        return {name.partition(".")[0] for name in (*arguments, *self.fixed)}

    def default_of(self, target: str) -> list[Any]:
        """Gives the default of the argument that stands for a graph input, if there is one."""
        return [
            value
            for name, value in self.defaults.items()
            if self.arguments.get(name, name) == target and value is not None
        ]

    def _check(
        self,
        given: Mapping[str, Any],
        others: Iterable[Task],
        free: Container[str],
        elsewhere: Callable[[str], str],
    ) -> None:
        for name in given:
            if name in self.takes or name in free or "." in name:
                continue
            if name in self.declines:
                raise UnknownInputError(
                    f"Task {self.name!r} takes no {name!r}: {self.declines[name]}."
                )
            takers = [task for task in others if name in task.takes]
            hint = _taken_by(takers, given) + elsewhere(name)
            hint = hint or nearest(name, self.takes)
            raise UnknownInputError(f"Task {self.name!r} takes no argument {name!r}.{hint}")
        missing = self.lacking(given)
        if missing:
            raise MissingInputError(
                f"Task {self.name!r} needs {' and '.join(map(repr, missing))}, which "
                f"{'was' if len(missing) == 1 else 'were'} not given."
            )


def _taken_by(takers: list[Task], given: Mapping[str, Any]) -> str:
    """Says which tasks take an argument, and what the first of them needs besides."""
    if not takers:
        return ""
    told = f" Task {' or '.join(repr(task.name) for task in takers)} does."
    first = takers[0]
    missing = [f"{name}=..." for name in first.requires if name not in given]
    return f"{told} For {first.name!r} give {' and '.join(missing)} too." if missing else told


def read_task(name: str, settings: Mapping[str, Any]) -> Task:
    """Reads a task from plain data, as a graph holds it.

    Args:
        name: The task's name.
        settings: The keys of ``Task``; ``also_takes`` is joined to ``takes``.

    Raises:
        ConfigError: A key is unknown, a value of the wrong type, or an argument named that the
            task does not take, or that it takes and declines.
    """
    for key in settings:
        if key not in _KEYS:
            raise ConfigError(f"Task {name!r} has an unknown key {key!r}.{nearest(key, _KEYS)}")
    diffusers = settings.get("diffusers")
    if diffusers is not None and not isinstance(diffusers, str):
        raise ConfigError(f"Task {name!r}: 'diffusers' is {diffusers!r}; it must be a string.")
    only_by_name = settings.get("only_by_name", False)
    if not isinstance(only_by_name, bool):
        raise ConfigError(
            f"Task {name!r}: 'only_by_name' is {only_by_name!r}; it must be true or false."
        )
    reads = settings.get("reads")
    if reads is not None and reads not in _READS:
        raise ConfigError(
            f"Task {name!r}: 'reads' is {reads!r}; it must be of {', '.join(_READS)}."
        )
    task = Task(
        name=name,
        takes=(*_names(name, settings, "takes"), *_names(name, settings, "also_takes")),
        arguments=_mapping(name, settings, "arguments"),
        defaults=_mapping(name, settings, "defaults"),
        fixed=_mapping(name, settings, "fixed"),
        requires=_names(name, settings, "requires"),
        declines=_mapping(name, settings, "declines"),
        ignores={
            argument: _names(name, ignores, argument)
            for ignores in [_mapping(name, settings, "ignores")]
            for argument in ignores
        },
        outputs=_names(name, settings, "outputs"),
        diffusers=diffusers,
        only_by_name=only_by_name,
        reads=reads,
    )
    _check_arguments(task)
    return task


def _check_arguments(task: Task) -> None:
    """Refuses keys that name what the task does not take, or what it both takes and declines."""
    for key in ("arguments", "defaults", "requires"):
        for argument in getattr(task, key):
            if argument not in task.takes:
                raise ConfigError(
                    f"Task {task.name!r}: {key!r} names {argument!r}, which is not in 'takes'."
                    f"{nearest(argument, task.takes)}"
                )
    for argument in {*task.ignores, *(each for names in task.ignores.values() for each in names)}:
        if argument not in task.takes:
            raise ConfigError(
                f"Task {task.name!r}: 'ignores' names {argument!r}, which is not in 'takes'."
                f"{nearest(argument, task.takes)}"
            )
    for argument in task.declines:
        if argument in task.takes:
            raise ConfigError(
                f"Task {task.name!r}: {argument!r} is in 'takes' and in 'declines': keep one of "
                "them."
            )
    for argument, target in task.arguments.items():
        if not isinstance(target, str):
            raise ConfigError(
                f"Task {task.name!r}: argument {argument!r} is mapped to {target!r}; it must be "
                "the name of a graph input."
            )


def read_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Task]:
    """Reads all tasks of a graph; see ``read_task``."""
    return {name: read_task(name, settings) for name, settings in tasks.items()}


def choose_task(
    tasks: Mapping[str, Mapping[str, Any]],
    name: str | None,
    call: Mapping[str, Any],
    free: Container[str] = (),
) -> Task | None:
    """Finds the task that a call is for.

    Without a name it is the task that takes all arguments given, has all that it requires, and
    requires the most: a picture makes it img2img, a mask as well inpainting.

    Args:
        tasks: The tasks of a graph, as it holds them.
        name: The task's name, if the caller said it.
        call: The arguments of the call; None counts as not given.
        free: Arguments that the graph's nodes take whatever the task.

    Returns:
        The task; None where the graph has none and no name was given.

    Raises:
        UnknownInputError: The graph has no task of that name.
        InputError: Two tasks fit the call equally well.
    """
    known = read_tasks(tasks)
    if name is not None:
        if name not in known:
            raise UnknownInputError(f"There is no task {name!r}.{nearest(name, known)}")
        return known[name]
    known = {key: task for key, task in known.items() if not task.only_by_name}
    if not known:
        return None
    said = {key for key, value in call.items() if value is not None}
    given = {key for key in said if "." not in key}
    ready = [task for task in known.values() if not task.lacking(said)]
    bound = {each for each in given if each not in free}
    fitting = [task for task in ready if bound.issubset(task.takes)]
    if not fitting:
        # No task takes it all: the nearest one will say what is wrong.
        return max(
            ready or known.values(),
            key=lambda task: (len(given & set(task.takes)), len(task.requires)),
        )
    most = max(len(task.requires) for task in fitting)
    best = [task for task in fitting if len(task.requires) == most]
    if len(best) > 1:
        names = " or ".join(repr(task.name) for task in best)
        raise InputError(f"The call could be for the task {names}: say which, with task=...")
    return best[0]


def check_stage_task(tasks: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Refuses a task that a stage cannot be for.

    Args:
        tasks: The tasks of the stage's graph.
        name: The task.

    Raises:
        UnknownInputError: There is no such task.
        ConfigError: It gives a value to a part of an input, which only a call can.
    """
    task = choose_task(tasks, name, {})
    if task is None:
        return
    targets = (task.arguments.get(each, each) for each in task.defaults)
    for target in (*targets, *task.fixed):
        if "." in target:
            raise ConfigError(
                f"Task {name!r} gives a value to {target!r}, a part of an input: a stage's task "
                "can give whole inputs only. Set it as an input of the node instead."
            )


def _is_known(target: str, known: Container[str] | None) -> bool:
    return known is None or target in known or target.partition(".")[0] in known


def _put(inputs: dict[str, Any], target: str, value: Any) -> None:
    """Stores a value under an input's name, or under a key of an input that is a mapping."""
    name, _, key = target.partition(".")
    if "." in key:
        inputs[target] = value
    elif key:
        inputs[name] = {**inputs.get(name, {}), key: value}
    elif isinstance(inputs.get(target), Mapping) and isinstance(value, Mapping):
        inputs[target] = {**inputs[target], **value}
    else:
        inputs[target] = value


def _names(task: str, settings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = settings.get(key) or ()
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"Task {task!r}: {key!r} is {value!r}; it must be a list of names.")
    return tuple(value)


def _mapping(task: str, settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = settings.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"Task {task!r}: {key!r} is {value!r}; it must be a mapping.")
    return MappingProxyType(dict(value))

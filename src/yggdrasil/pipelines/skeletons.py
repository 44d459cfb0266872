"""Models of full size without weights, built of registered configurations and planned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from PIL import Image
from torch import nn

from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError, MissingInputError, ModelError, YggdrasilError
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.config_library import ConfigLibrary, ConfigSource
from yggdrasil.hub.config_sets import whole_set
from yggdrasil.hub.pipeline_classes import tasks_by_class
from yggdrasil.pipelines.components import blocks_of, check_whole
from yggdrasil.pipelines.inference import InferencePipeline
from yggdrasil.pipelines.models import use_own_solver, use_settings
from yggdrasil.pipelines.sharing import brought_by

__all__ = ["Checked", "check_set", "skeleton_of"]

_PICTURE = Image.new("RGB", (64, 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How the check of a registered set of configurations ended.

    Attributes:
        name: Of the set.
        pipeline: The Diffusers pipeline class; None for a part.
        template: The template that stands for it; None for a part, and where none does yet.
        task: The task that stands for it.
        parameters: How many all its models have.
        planned: How many steps the plan of each task has.
        refused: Why other tasks of the template are not for the model.
        fault: What is wrong, if anything is.
        seconds: How long it took.
    """

    name: str
    pipeline: str | None
    template: str | None
    task: str | None
    parameters: int
    planned: Mapping[str, int]
    refused: Mapping[str, str]
    fault: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Gives it as plain data."""
        return asdict(self)


def skeleton_of(library: ConfigLibrary) -> InferencePipeline:
    """Makes a pipeline of full size whose models have no weights: it can be planned, not run.

    Args:
        library: The registered configurations.

    Raises:
        ModelError: There is no template for them, or they lack a component.
        ConfigError: A configuration does not fit its class.
    """
    template, _ = tasks_by_class()[library.pipeline_class()]
    graph, _ = resolve_template(template)
    use_own_solver(graph, library)
    use_settings(graph, library)
    pipeline = InferencePipeline.from_graph(graph, library=library)
    check_whole(graph, library, ())
    for _, block in blocks_of(graph):
        for name, slot in block.slots().items():
            source = block.sources.get(name)
            if isinstance(source, ConfigSource) and issubclass(slot.cls, nn.Module):
                block.give(**{name: source.skeleton(slot)})
    return pipeline


def check_set(name: str) -> Checked:
    """Builds a registered set of configurations and plans each task of its template.

    Tasks that are chosen by name alone, or say what their models read, are for some models, so
    another may refuse them; its own task and all the others have to be planned, and to read the
    pictures that they require. A part is planned in the model that it is for, where one is named;
    of others, and where there is no template yet, the models alone are built.

    Args:
        name: Of the set.

    Raises:
        ModelError: There is no such set.
    """
    begun = time.perf_counter()
    library = ConfigLibrary.open(name)
    library = replace(library, configs=whole_set(library.configs))
    template, task = tasks_by_class().get(library.configs.pipeline or "", (None, None))
    planned: dict[str, int] = {}
    refused: dict[str, str] = {}
    fault, parameters = None, 0
    try:
        if template is None:
            parameters = sum(_count(each) for each in _models(library))
        else:
            pipeline = skeleton_of(library)
            parameters = sum(_count(each) for each in _distinct(pipeline))
            for each, settings in pipeline.graph.tasks.items():
                try:
                    planned[each] = _planned(pipeline, each, settings)
                except (InputError, MissingInputError, ModelError) as error:
                    # A task that is asked for by name, or says what its models read, is for other
                    # models of the family.
                    if each == task or not {"only_by_name", "reads"} & settings.keys():
                        raise
                    refused[each] = str(error)
    except YggdrasilError as error:
        fault = f"{type(error).__name__}: {error}"
    return Checked(
        name=name, pipeline=library.configs.pipeline, template=template, task=task,
        parameters=parameters, planned=planned, refused=refused, fault=fault,
        seconds=time.perf_counter() - begun,
    )  # fmt: skip


def _planned(pipeline: InferencePipeline, task: str, settings: Mapping[str, Any]) -> int:
    """Plans a task with a prompt and the pictures that it requires; gives the steps of the plan.

    Raises:
        ModelError: The plan does not read a picture.
        InputError: The model's parts cannot do the task.
    """
    pipeline.task = task
    required = settings.get("requires", ())
    takes = {*settings.get("takes", ()), *settings.get("also_takes", ())}
    prompt = "a cat" if "prompt" in takes else None
    inputs = settings.get("arguments", {})
    # What nodes take in every call, such as a ControlNet its picture and the kind of that.
    blocks = [block for _, block in blocks_of(pipeline.graph)]
    brought = {n: need for each in blocks for n, need in brought_by(type(each)).items()}
    kinds = dict.fromkeys({"control_mode"} & brought.keys(), 0)
    wanted = {n for n, need in brought.items() if need} - {inputs.get(n, n) for n in required}
    pictures: dict[str, Any] = dict.fromkeys(({*required} | wanted) - kinds.keys(), _PICTURE)
    plan = pipeline.plan(prompt, **{**pictures, **kinds})
    calls = list(plan.calls())
    read = {slot for call in calls for slot in call.reads()}
    unread = [name for name in required if plan.inputs.get(inputs.get(name, name)) not in read]
    if unread:
        raise ModelError(f"{task} does not read {', '.join(unread)}.")
    return len(calls)


def _distinct(pipeline: InferencePipeline) -> list[nn.Module]:
    blocks = (block for _, block in blocks_of(pipeline.graph))
    return list({id(model): model for block in blocks for model in block.children()}.values())


def _models(library: ConfigLibrary) -> Iterator[nn.Module]:
    """Makes the models of a set by the names of their classes."""
    # Both are lazy: a module is imported for each name.
    import diffusers  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    for name, registered in library.configs.components.items():
        if registered.vocabulary is not None:
            continue
        cls = getattr(diffusers, registered.class_name, None)
        cls = cls or getattr(transformers, registered.class_name, None)
        if cls is None:
            raise ModelError(f"Neither Diffusers nor transformers has {registered.class_name!r}.")
        slot = Component[Any](cls)
        slot.__set_name__(object, name)
        source = library.source(slot)
        if isinstance(source, ConfigSource) and issubclass(cls, nn.Module):
            yield source.skeleton(slot)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

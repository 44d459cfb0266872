"""A place for components that a model comes without, such as a ControlNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.core.errors import ConfigError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.template_documents import template_extensions
from yggdrasil.core.templates import load_template, template_names
from yggdrasil.hub.library import Library
from yggdrasil.hub.several import split_components
from yggdrasil.pipelines.components import blocks_of

__all__ = ["with_place_for"]

_Places = Mapping[str, tuple[str, str, type]]
"""By the name of a component: the node, the type of its block, and the class that it holds."""


def with_place_for(
    graph: ComputeGraph, model: Library, components: Mapping[str, Any]
) -> ComputeGraph:
    """Gives the graph of the template that adds a place for components to a model's own graph.

    So ``controlnet=net``, one or a list, works for any model whose family has a template with a
    ControlNet of that class.

    Args:
        graph: The model's.
        model: The model.
        components: As the caller gave them, by name.

    Returns:
        The graph of the nearest template that extends the graph's own and has a place for all of
        them; the graph itself where nothing needs one, or no template knows the names.

    Raises:
        ConfigError: A component is of a class that no such template holds, a list of them is empty,
            or the model was saved with a graph of its own.
    """
    held = {slot.folder for _, block in blocks_of(graph) for slot in block.slots().values()}
    known = held | model.names()
    further = {name: each for name, each in components.items() if name not in known}
    several = {
        name: [*split_components({name: value}).values()]
        for name, value in further.items()
        if value is not None
    }
    if not several:
        return graph
    others = {name: load_template(name) for name in template_extensions(graph.name)}
    places = {name: _places(other) for name, other in others.items()}
    if not all(any(name in each for each in places.values()) for name in several):
        return graph  # it is told where all names are known
    for template, each in places.items():
        if all(name in each and _fits(parts, each[name][2]) for name, parts in several.items()):
            _refuse_own_graph(model, {name: each[name] for name in several})
            return others[template]
    name, parts = next(
        (name, parts)
        for name, parts in several.items()
        if not any(name in each and _fits(parts, each[name][2]) for each in places.values())
    )
    raise ConfigError(_refusal(graph.name, name, parts, places))


def _places(graph: ComputeGraph) -> _Places:
    return {
        slot.folder: (path, block.type_name, slot.cls)
        for path, block in blocks_of(graph)
        for slot in block.slots().values()
    }


def _fits(parts: list[Any], cls: type) -> bool:
    # What torch.compile gives holds the module, and is of a class of its own.
    return bool(parts) and all(isinstance(getattr(p, "_orig_mod", p), cls) for p in parts)


def _refuse_own_graph(model: Library, places: _Places) -> None:
    """Refuses to change a graph that the model was saved with."""
    if model.graph_file is None:
        return
    name, (node, type_name, _) = next(iter(places.items()))
    raise ConfigError(
        f"{model.describe()} was saved with its graph, {model.graph_file.name}, which has no place "
        f"for {name!r}. Add one to the pipeline: pipe.graph.add_node({node!r}, {type_name!r}), and "
        f"then pipe.graph.block({node!r}).give({name}=...)."
    )


def _refusal(template: str, name: str, parts: list[Any], places: Mapping[str, _Places]) -> str:
    """Says which classes there is a place for, and whose the given one is."""
    if not parts:
        return f"{name} is an empty list: give one, or some, or leave {name}=... out."
    held = [f"{each[name][2].__name__} ({key!r})" for key, each in places.items() if name in each]
    wrong = sorted({type(each).__name__ for each in parts})
    told = (
        f"{name} is {' and '.join(wrong)}, and templates that add one to {template!r} hold "
        f"{' or '.join(held)}."
    )
    elsewhere = [
        other
        for other in template_names()
        if other not in places
        and (place := _places(load_template(other)).get(name)) is not None
        and _fits(parts, place[2])
    ]
    if elsewhere:
        return f"{told} A {wrong[0]} is for models of {' or '.join(map(repr, elsewhere))}."
    if any(isinstance(each, str) for each in parts):
        return (
            f"{told} Give the model itself, as its class's from_pretrained({parts[0]!r}) loads it, "
            f"or add a node to the pipeline: pipe.graph.add_node(..., pretrained={parts[0]!r})."
        )
    return f"{told} All must be of one such class."

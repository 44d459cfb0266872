"""What can be made of a graph: text, a drawing, an explanation, a check."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal, TypeVar

from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.drawing import draw
from yggdrasil.core.errors import YggdrasilError
from yggdrasil.core.explaining import explain
from yggdrasil.core.rules import Mode
from yggdrasil.core.serialization import from_yaml, to_yaml
from yggdrasil.core.serialization.reading import GraphBuilder
from yggdrasil.core.template_building import build_template
from yggdrasil.core.validation import validate

__all__ = ["GraphViews"]

G = TypeVar("G", bound=GraphBuilder)
"""A class that mixes this one in: by itself it has no nodes, so ``Self`` would not do."""


class GraphViews:
    """The methods of a graph that read it or make one, and edit nothing."""

    @classmethod
    def from_yaml(cls: type[G], source: str | os.PathLike[str]) -> G:  # noqa: PYI019 - see G
        """Reads a graph from a graph file.

        Args:
            source: A path, or the text itself: a string of more than one line, or one in braces.

        Raises:
            GraphFileError: With file and line, and how to mend it.
        """
        return from_yaml(source, cls)

    @classmethod
    def from_template(cls: type[G], name: str, **overrides: Any) -> G:  # noqa: PYI019 - see G
        """Makes the graph of a template.

        Args:
            name: The template, such as ``sd15``.
            **overrides: By node: None takes it away, a type or block replaces it, a mapping of
                settings and configuration is laid over its own.

        Raises:
            RegistryError: There is no such template.
            GraphError: The template has no node that an override names.
        """
        return build_template(name, cls, overrides)

    def to_yaml(self: GraphLike) -> str:
        """Writes the graph as YAML; equal graphs give equal text.

        Raises:
            GraphFileError: A block is not registered, or a value is no plain data.
        """
        return to_yaml(self)

    def draw(
        self: GraphLike,
        format: Literal["mermaid", "svg"] = "mermaid",
        *,
        given: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        mode: Mode = "denoise",
        ports: bool = False,
    ) -> str:
        """Draws the wired graph.

        Args:
            format: ``mermaid`` or ``svg``.
            given: Inputs of a call; then only what that call runs is drawn.
            outputs: What is wanted of it; every exposed output unless said.
            mode: ``denoise`` generates, ``corrupt`` trains.
            ports: Whether edges are labelled with the ports that they join.

        Returns:
            The drawing's text.
        """
        return draw(self, format, given=given, outputs=outputs, mode=mode, ports=ports)

    def explain(
        self: GraphLike,
        port: str,
        given: Mapping[str, Any] | None = None,
        *,
        mode: Mode = "denoise",
    ) -> str:
        """Says where an input comes from, what else it could come from, and why it does not.

        Args:
            port: ``node.port``, ``node.op.port``, ``role.port`` or ``role.op.port``.
            given: Inputs of a call; without them the structure is explained.
            mode: ``denoise`` generates, ``corrupt`` trains.

        Raises:
            ConnectError: No input is called so.
        """
        return explain(self, port, given, mode=mode)

    def validate(
        self: GraphLike,
        given: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        *,
        mode: Mode = "denoise",
    ) -> None:
        """Checks all that can be known before anything runs.

        Args:
            given: Inputs of a call, to check that very call; without them it is checked that some
                inputs lead to each output.
            outputs: What is wanted; every exposed output unless said.
            mode: ``denoise`` generates, ``corrupt`` trains.

        Raises:
            YggdrasilError: The first thing that is wrong, with where and how to mend it.
        """
        validate(self, given, outputs, mode=mode)

    def _repr_svg_(self: GraphLike) -> str | None:
        """Shows the drawing in a notebook, where the graph can be wired."""
        try:
            return draw(self, "svg")
        except YggdrasilError:  # told by _repr_html_
            return None

    def _repr_html_(self: GraphLike) -> str | None:
        """Says in a notebook why a graph cannot be drawn, such as one that is being edited."""
        try:
            draw(self, "svg")
        except YggdrasilError as error:
            told = f"graph {self.name!r}\n{type(error).__name__}: {error}"
            return f"<pre>{escape(told)}</pre>"
        return None

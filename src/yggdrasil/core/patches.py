"""Which adapters change the blocks of a wired graph."""

from __future__ import annotations

from yggdrasil.core.adapters import AbstractAdapter, Patch
from yggdrasil.core.candidates import Wiring
from yggdrasil.core.errors import AmbiguousError, GraphError

__all__ = ["adapters_of", "check_adapters", "patches_of"]


def patches_of(wiring: Wiring, path: str) -> tuple[Patch, ...]:
    """Gives the adapters that change a node's block, in order.

    Args:
        wiring: The wired graph.
        path: The node.

    Raises:
        AmbiguousError: Two of them have one order: which comes first changes the last bits.
    """
    taken: dict[int, str] = {}
    found = []
    for name in wiring.patches.get(path, ()):
        node = wiring.nodes[name]
        other = taken.setdefault(node.order, name)
        if other != name:
            raise AmbiguousError(
                f"{other} and {name} both change {path} in graph {wiring.graph_name!r} with "
                f"order={node.order}, and which comes first changes the result. Give each an "
                "order of its own: add_node(..., order=1)."
            )
        found += [each for each in adapters_of(wiring) if each.node == name]
    return tuple(found)


def adapters_of(wiring: Wiring) -> tuple[Patch, ...]:
    """Gives the adapters of a graph that change something, each with all that it changes.

    Args:
        wiring: The wired graph.
    """
    among: dict[str, dict[int, str]] = {}
    for path, names in wiring.patches.items():
        for name in names:
            # Nodes that use another's block are that block.
            among.setdefault(name, {}).setdefault(id(wiring.nodes[path].block), path)
    found = []
    for name, paths in sorted(among.items()):
        adapter = wiring.nodes[name].block
        assert isinstance(adapter, AbstractAdapter)  # noqa: S101 - wiring asked that
        found.append(Patch(name, adapter, tuple(wiring.nodes[p].block for p in paths.values())))
    return tuple(found)


def check_adapters(wiring: Wiring) -> None:
    """Refuses adapters that change nothing, since nobody adds one for that.

    Args:
        wiring: The wired graph.

    Raises:
        GraphError: The rules find no node for one, in its group or without a group.
    """
    busy = {name for names in wiring.patches.values() for name in names}
    for path, node in wiring.nodes.items():
        if isinstance(node.block, AbstractAdapter) and node.auto_connect and path not in busy:
            where = "no group" if node.group is None else f"group {node.group!r}"
            raise GraphError(
                f"Adapter {path!r} of graph {wiring.graph_name!r} changes no node: in {where} "
                "there is none that it is for. Name some with targets=[...], or give it the "
                "group of those that it is to change."
            )

"""Which adapters change the blocks of a wired graph."""

from __future__ import annotations

from yggdrasil.core.adapters import AbstractAdapter, Patch
from yggdrasil.core.candidates import Wiring
from yggdrasil.core.errors import AmbiguousError

__all__ = ["adapters_of", "patches_of"]


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

"""The keys of a graph file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["GRAPH_KEYS", "NODE_KEYS", "RULE_KEYS", "SCHEMA", "TEMPLATE_KEYS"]

SCHEMA = 1
"""The version that is written; older ones that are still read would be listed beside it."""

GRAPH_KEYS: Mapping[str, type] = MappingProxyType(
    {
        "schema": int,
        "name": str,
        "nodes": dict,
        "edges": list,
        "inputs": dict,
        "outputs": dict,
        "defaults": dict,
        "rules": list,
        "draws": list,
        "tasks": dict,
    }
)
"""In the order in which they are written."""

TEMPLATE_KEYS: Mapping[str, type] = MappingProxyType({"extends": str, "remove": list})
"""What a template may say beside that: which other one it is laid over, less which nodes."""

NODE_KEYS: Mapping[str, type] = MappingProxyType(
    {
        "type": str,
        "use": str,
        "graph": dict,
        "role": str,
        "group": str,
        "order": int,
        "auto_connect": bool,
        "pretrained": str,
        "components": dict,
        "inputs": dict,
        "task": str,
        "dtype": str,
    }
)
"""Every other key of a node is configuration of its block."""

RULE_KEYS: Mapping[str, type] = MappingProxyType(
    {
        "target": str,
        "sources": list,
        "mode": str,
        "carried": str,
        "until": str,
        "required": bool,
    }
)

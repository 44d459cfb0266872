"""The colours of roles: a fill and a stroke, readable under dark text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["colours_of"]

_COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "backbone": ("#ffe3d3", "#d4652f"),
        "codec": ("#dbeafe", "#3b76c4"),
        "masked_codec": ("#dbeafe", "#3b76c4"),
        "conditioner": ("#e3f5dc", "#4e9a36"),
        "guidance": ("#fdf0c4", "#b98a07"),
        "solver": ("#eadffb", "#8250df"),
        "source": ("#e6e9ee", "#6b7785"),
        "layout": ("#e6e9ee", "#6b7785"),
        "timesteps": ("#e6e9ee", "#6b7785"),
        "adapter": ("#fcdff0", "#bf3989"),
        "inner_module": ("#fcdff0", "#bf3989"),
        "outer_module": ("#d8f3f3", "#1b8a8f"),
        "processor": ("#d8f3f3", "#1b8a8f"),
        "objective": ("#ffdfe0", "#cf222e"),
    }
)
_OTHER = ("#f3f4f6", "#6e7781")


def colours_of(role: str) -> tuple[str, str]:
    """Gives the fill and the stroke of a role's boxes."""
    return _COLOURS.get(role, _OTHER)

"""Telling which model an inner module was made for by its widths."""

from __future__ import annotations

from yggdrasil.blocks.text_widths import BASES
from yggdrasil.core.errors import InputError
from yggdrasil.core.values import BackboneSpecValue

__all__ = ["check_text_width", "check_widths"]


def check_text_width(module: str, own: int | None, backbone: BackboneSpecValue) -> None:
    """Refuses a module that reads text states of another width than the backbone.

    Args:
        module: What it is, for the message.
        own: The width that it reads; None where it reads none.
        backbone: What it says of itself.

    Raises:
        InputError: The widths differ.
    """
    wanted = backbone.text_width
    if own is None or wanted is None or own == wanted:
        return
    raise InputError(
        f"The {module} reads text states {own} wide and the backbone {wanted}: it was made for "
        f"another base{_told(own, wanted)}. Take one that was trained for this model."
    )


def check_widths(module: str, own: tuple[int, ...], backbone: BackboneSpecValue) -> None:
    """Refuses a module whose blocks have other channels than the backbone's.

    Args:
        module: What it is, for the message.
        own: Its channels, as ``BackboneSpecValue.widths``.
        backbone: What it says of itself.

    Raises:
        InputError: They differ.
    """
    if backbone.widths and own != backbone.widths:
        raise InputError(
            f"The {module} has blocks of {_listed(own)} channels and the backbone of "
            f"{_listed(backbone.widths)}: it was made for another base. Take one that was trained "
            "for this model."
        )


def _told(own: int, wanted: int) -> str:
    """Says which bases the widths look like, where they are known."""
    looks = [
        f"the {what} looks like one for {BASES[width]}"
        for what, width in (("module", own), ("backbone", wanted))
        if width in BASES
    ]
    return f" ({', '.join(looks)})" if looks else ""


def _listed(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))

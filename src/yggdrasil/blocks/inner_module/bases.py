"""Telling which model an inner module was made for by its widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.text_widths import BASES
from yggdrasil.core.errors import InputError
from yggdrasil.core.values import BackboneSpecValue

__all__ = ["check_kinds", "check_text_width", "check_transformer", "check_widths"]


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


def check_transformer(module: str, config: Mapping[str, Any], backbone: BackboneSpecValue) -> None:
    """Refuses a module of transformer blocks that was made for another base.

    Args:
        module: What it is, for the message.
        config: Its configuration.
        backbone: What it says of itself.

    Raises:
        InputError: The widths differ.
    """
    check_text_width(module, config["joint_attention_dim"], backbone)
    width = config["num_attention_heads"] * config["attention_head_dim"]
    check_widths(module, (width,), backbone)


def check_kinds(modes: int | list[int | None] | None, kinds: int) -> None:
    """Refuses kinds of pictures that a module does not know.

    Args:
        modes: One, or a list; None where it is not said.
        kinds: How many the module knows.

    Raises:
        InputError: One is no number of a kind.
    """
    for mode in modes if isinstance(modes, list) else [modes]:
        if mode is None:
            raise InputError(
                f"The ControlNet reads {kinds} kinds of pictures: give control_mode, 0 to "
                f"{kinds - 1}, for the kind of this one."
            )
        check_count("control_mode", mode, least=0)
        if mode >= kinds:
            raise InputError(
                f"control_mode is {mode}, but the ControlNet knows {kinds} kinds of pictures, "
                f"0 to {kinds - 1}."
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

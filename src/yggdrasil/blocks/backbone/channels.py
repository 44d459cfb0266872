"""Channels that a backbone reads beside the latents: what its configuration says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.core.errors import InputError

__all__ = ["check_channels", "reads_channels", "reads_mask", "reads_picture", "unused_channels"]


def reads_channels(config: Mapping[str, Any]) -> bool:
    """Says whether a model reads further channels: it answers latents, so those are its own.

    Args:
        config: Of the model, complete.
    """
    wide: bool = config["in_channels"] > (config["out_channels"] or config["in_channels"])
    return wide


def reads_mask(config: Mapping[str, Any]) -> bool:
    """Says whether a model reads a mask: as many channels as latents have are a picture.

    Args:
        config: Of the model, complete.
    """
    wide: bool = config["in_channels"] > 2 * (config["out_channels"] or config["in_channels"])
    return wide


def reads_picture(config: Mapping[str, Any]) -> bool:
    """Says whether a model reads another picture's latents, and no mask.

    Args:
        config: Of the model, complete.
    """
    return reads_channels(config) and not reads_mask(config)


def unused_channels(op: str, config: Mapping[str, Any]) -> frozenset[str]:
    """Gives the input of further channels where it is not read, as ``unused_inputs`` does.

    Args:
        op: The op that will be run.
        config: Of the model, complete.
    """
    unread = op == "predict" and not reads_channels(config)
    return frozenset({"channels"} if unread else ())


def check_channels(model: str, seen: int, wanted: int, missing: str) -> None:
    """Refuses a sample that has not the channels that a model reads.

    Args:
        model: What it is, for the message.
        seen: How many it is given.
        wanted: How many it reads.
        missing: Which models read further channels, and what is to be given for them.

    Raises:
        InputError: The numbers differ.
    """
    if seen == wanted:
        return
    advice = (
        f"It reads further channels beside the latents: {missing}."
        if seen < wanted
        else "It reads fewer: leave out what is given beside the latents."
    )
    raise InputError(f"The {model} reads {wanted} channels and was given {seen}. {advice}")

"""Telling models apart by the width of the text states that they read."""

from __future__ import annotations

from collections.abc import Mapping

from yggdrasil.core.errors import InputError

__all__ = ["BASES", "check_states"]

BASES: Mapping[int, str] = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the refiner of Stable Diffusion XL",
    2048: "Stable Diffusion XL",
    4096: "Stable Diffusion 3 or FLUX.1",
}
"""Families by the width of the text states that their models read; from their configurations."""


def check_states(model: str, wanted: int, seen: int) -> None:
    """Refuses text states of another width than a model reads.

    Args:
        model: What it is, for the message.
        wanted: The width that it reads.
        seen: The width of the states.

    Raises:
        InputError: They differ.
    """
    if wanted != seen:
        looks = [
            f"{what} {BASES[width]}"
            for what, width in (("the model looks like", wanted), ("the states like", seen))
            if width in BASES
        ]
        told = f" ({', '.join(looks)})" if looks else ""
        raise InputError(
            f"The {model} reads text states {wanted} wide and is given {seen}{told}: it and the "
            "text encoders are of different families. Take them from one model."
        )

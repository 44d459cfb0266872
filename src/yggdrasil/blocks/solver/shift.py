"""How far larger pictures shift a flow's schedule towards noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["shift_of"]


def shift_of(
    config: Mapping[str, Any], tokens: int | None, max_shift: float | None = None
) -> float:
    """Gives the shift, ``mu``, which grows with the number of the backbone's tokens.

    Args:
        config: Of the scheduler; what it does not say is as FLUX has it.
        tokens: How many the latents make; the least that the line is drawn from unless given.
        max_shift: The shift of the largest picture, where the configuration has none.

    Source:
        Esser et al. 2024 (arXiv:2403.03206), section 5.3.2; ``calculate_shift`` of Diffusers'
        ``FluxPipeline``.
    """
    least = config.get("base_image_seq_len", 256)
    most = config.get("max_image_seq_len", 4096)
    low, high = (
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15 if max_shift is None else max_shift),
    )
    slope = (high - low) / (most - least)
    shift: float = (least if tokens is None else tokens) * slope + (low - slope * least)
    return shift

"""How far a flow's schedule is shifted, where steps count beside the size of the picture."""

from __future__ import annotations

from typing import Annotated

from yggdrasil.core.kinds import Kind, TokenCount
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor

__all__ = ["FlowShift", "Shift"]

Shift = Annotated[float, Kind("flow_shift")]
"""How far a flow's schedule is shifted towards noise, ``mu``."""


@register_block("processor/flow_shift")
class FlowShift(AbstractProcessor):
    """Shifts between two lines over the number of tokens, one for few steps and one for many.

    Args:
        few: Number of steps, slope and height at 0 of the one line.
        many: The same of the other.
        most_tokens: From how many tokens on only the line for many steps counts.

    Source:
        Black Forest Labs 2025, ``flux2/sampling.py:compute_empirical_mu``.
    """

    def __init__(
        self,
        few: tuple[int, float, float] = (10, 8.73809524e-05, 1.89833333),
        many: tuple[int, float, float] = (200, 0.00016927, 0.45666666),
        most_tokens: int = 4300,
    ) -> None:
        self.few = tuple(few)
        self.many = tuple(many)
        self.most_tokens = most_tokens

    @op
    def shift(self, tokens: TokenCount, num_inference_steps: int = 50) -> Shift:
        """Gives the shift.

        Args:
            tokens: How many the latents make.
            num_inference_steps: How many steps the whole schedule has.
        """
        steps, slope, height = self.many
        at_many = slope * tokens + height
        if tokens > self.most_tokens:
            return at_many
        fewer, slope, height = self.few
        # In this order, since last bits depend on it.
        rise = (at_many - (slope * tokens + height)) / float(steps - fewer)
        return rise * num_inference_steps + (at_many - float(steps) * rise)

"""How often a model paints what it was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from yggdrasil.training.datasets.shapes.checker import Verdict, check
from yggdrasil.training.datasets.shapes.sampling import evaluation_prompts

__all__ = ["GUIDANCE_SCALE", "STEPS", "Adherence", "measure_adherence"]

STEPS = 20
GUIDANCE_SCALE = 2.0
"""With which figures are measured; more guidance shifts the colors of so small a model."""

Painter = Callable[[Sequence[str]], Sequence[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Adherence:
    """What share of pictures shows what was asked for.

    Attributes:
        count: How many prompts.
        right: Share of pictures that are right in everything.
        parts: Share that is right in color, shape, size, position, background, relation.
    """

    count: int
    right: float
    parts: dict[str, float]

    def __str__(self) -> str:
        """Gives one line."""
        parts = ", ".join(f"{name} {share:.0%}" for name, share in self.parts.items())
        return f"{self.right:.1%} of {self.count} fully right ({parts})"


def measure_adherence(
    paint: Painter,
    count: int,
    *,
    seed: int = 0,
    kept_out: bool = False,
    two_objects: bool = False,
    batch_size: int = 25,
) -> Adherence:
    """Asks for scenes and checks the pictures.

    Args:
        paint: From prompts to one picture each.
        count: How many scenes.
        seed: Decides which ones.
        kept_out: Ask for combinations that training never shows.
        two_objects: Ask for two items and their relation.
        batch_size: How many prompts to paint at once.
    """
    asked = evaluation_prompts(count, seed, kept_out=kept_out, two_objects=two_objects)
    verdicts: list[Verdict] = []
    for start in range(0, count, batch_size):
        some = asked[start : start + batch_size]
        pictures = paint([each.prompt for each in some])
        verdicts += [check(p, each.scene) for p, each in zip(pictures, some, strict=True)]
    right = Counter(
        field.name
        for verdict in verdicts
        for field in fields(Verdict)
        if getattr(verdict, field.name)
    )
    return Adherence(
        count=count,
        right=sum(verdict.is_right for verdict in verdicts) / count,
        parts={field.name: right[field.name] / count for field in fields(Verdict)},
    )

"""Drawing scenes at random, for training and for judging."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from yggdrasil.training.datasets.shapes.captions import caption
from yggdrasil.training.datasets.shapes.choice import choose
from yggdrasil.training.datasets.shapes.errors import ShapesError
from yggdrasil.training.datasets.shapes.render import complete
from yggdrasil.training.datasets.shapes.scene import (
    Item,
    Relation,
    Scene,
    kept_out_pairs,
    training_pairs,
)

if TYPE_CHECKING:
    from yggdrasil.training.datasets.shapes.scene import ColorShape

# Keeps the draws for judging apart from those of a dataset with the same seed.
_EVALUATION_STREAM: Final = 0x5EED


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPrompt:
    """A prompt, and the scene that a picture made from it must show."""

    prompt: str
    scene: Scene


def draw_scene(
    rng: np.random.Generator, *, two_objects: bool = False, kept_out: bool = False
) -> Scene:
    """Draw a scene at random.

    Args:
        rng: Source of the draw.
        two_objects: Whether the scene has two items and a relation.  Their sizes are not
            said then.
        kept_out: Whether the (first) item is one of the combinations that training never
            shows.  Otherwise no item is.

    Returns:
        A scene with a background, and with sizes and positions if it has one item.
    """
    seen = training_pairs()
    firsts = tuple(sorted(kept_out_pairs())) if kept_out else seen
    first = choose(firsts, rng)
    if not two_objects:
        return complete(Scene(items=(_item(first),)), rng)
    # Two alike items would make the relation meaningless.
    second = choose(tuple(pair for pair in seen if pair != first), rng)
    scene = Scene(items=(_item(first), _item(second)), relation=choose(tuple(Relation), rng))
    return forget_sizes(complete(scene, rng))


def forget_sizes(scene: Scene) -> Scene:
    """Return the scene without a word about sizes."""
    return replace(scene, items=tuple(replace(item, size=None) for item in scene.items))


def evaluation_prompts(
    count: int, seed: int = 0, *, kept_out: bool, two_objects: bool = False
) -> list[EvaluationPrompt]:
    """Return prompts for judging a model, all different, in canonical wording.

    Args:
        count: How many prompts.
        seed: Seed of the draw; the same seed gives the same prompts.
        kept_out: Whether to ask for combinations that training never shows, or only for
            those that it does.
        two_objects: Whether to ask for two items and their relation.

    Returns:
        Prompts with the scenes to check pictures against.

    Raises:
        ShapesError: If ``count`` is negative, or more than half of all such scenes.
    """
    if count < 0:
        raise ShapesError(f"count must not be negative, not {count}")
    rng = np.random.default_rng([_EVALUATION_STREAM, seed])
    scenes: dict[Scene, None] = {}
    for _ in range(10 * count):
        if len(scenes) == count:
            break
        scenes[draw_scene(rng, two_objects=two_objects, kept_out=kept_out)] = None
    if len(scenes) < count:
        raise ShapesError(f"there are not enough different scenes for {count} prompts")
    return [EvaluationPrompt(prompt=caption(scene), scene=scene) for scene in scenes]


def _item(pair: ColorShape) -> Item:
    return Item(color=pair[0], shape=pair[1])

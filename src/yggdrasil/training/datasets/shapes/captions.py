"""Scenes as text: canonical captions, paraphrases of them, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yggdrasil.training.datasets.shapes.choice import choose
from yggdrasil.training.datasets.shapes.scene import Item, Position, Scene

if TYPE_CHECKING:
    import numpy as np

_CANONICAL_PLACE: Final = {
    Position.LEFT: "at the left",
    Position.RIGHT: "at the right",
    Position.TOP: "at the top",
    Position.BOTTOM: "at the bottom",
    Position.CENTER: "in the center",
}
_OTHER_PLACES: Final = {
    Position.LEFT: ("on the left", "on the left side"),
    Position.RIGHT: ("on the right", "on the right side"),
    Position.TOP: ("near the top", "on the top side"),
    Position.BOTTOM: ("near the bottom", "on the bottom side"),
    Position.CENTER: ("at the center", "in the middle"),
}
# Half of the paraphrased captions stay canonical, since that is the form most prompts take.
_CANONICAL_SHARE: Final = 0.5


def caption(scene: Scene) -> str:
    """Return the canonical caption of a scene.

    Args:
        scene: The scene; attributes that are ``None`` are left out of the text.

    Returns:
        For example ``"a small red circle at the left on a yellow background"`` or
        ``"a red circle left of a blue square on a white background"``.
    """
    subject = _subject(scene, place=_canonical_place(scene))
    return subject if scene.background is None else f"{subject} on a {scene.background} background"


def paraphrase(scene: Scene, rng: np.random.Generator) -> str:
    """Return one of several natural captions of a scene.

    Args:
        scene: The scene to describe.
        rng: Source of the choice.

    Returns:
        The canonical caption in half of the cases, else another wording of it.
    """
    if rng.random() < _CANONICAL_SHARE:
        return caption(scene)
    place = _canonical_place(scene)
    position = scene.items[0].position
    if position is not None:
        place = choose((place, *_OTHER_PLACES[position]), rng)
    subject = _subject(scene, place=place)
    return choose(_frames(subject, scene), rng)


def _frames(subject: str, scene: Scene) -> tuple[str, ...]:
    if scene.background is None:
        return subject, f"a picture of {subject}", subject.removeprefix("a ").removeprefix("an ")
    ground = f"{scene.background} background"
    bare = subject.removeprefix("a ").removeprefix("an ")
    return (
        f"{subject} on a {ground}",
        f"{subject}, {ground}",
        f"{bare}, {ground}",
        f"{bare} on {ground}",
        f"on a {ground}, {subject}",
        f"a {ground} with {subject}",
        f"a picture of {subject} on a {ground}",
    )


def _subject(scene: Scene, *, place: str) -> str:
    first = _noun(scene.items[0])
    if scene.relation is not None:
        return f"{first} {scene.relation} {_noun(scene.items[1])}"
    return f"{first} {place}" if place else first


def _canonical_place(scene: Scene) -> str:
    position = scene.items[0].position
    return "" if position is None else _CANONICAL_PLACE[position]


def _noun(item: Item) -> str:
    words = [word.value for word in (item.size, item.color, item.shape) if word is not None]
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join((article, *words))

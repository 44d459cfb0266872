"""The shapes world as a PyTorch dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from yggdrasil.training.datasets.shapes.captions import caption, paraphrase
from yggdrasil.training.datasets.shapes.errors import ShapesError
from yggdrasil.training.datasets.shapes.render import DEFAULT_SIZE, render
from yggdrasil.training.datasets.shapes.sampling import draw_scene

if TYPE_CHECKING:
    from yggdrasil.training.datasets.shapes.scene import Scene

_DEFAULT_LENGTH: Final = 100_000


class ShapesSample(TypedDict):
    """One training example.

    Attributes:
        image: RGB picture as float32 ``(channels, height, width)`` from -1 to 1.
        prompt: Its caption, empty where captions are dropped.
    """

    image: torch.Tensor
    prompt: str


class ShapesDataset(Dataset[ShapesSample]):
    """Captioned pictures of the shapes world, drawn when asked for.

    An example depends on ``seed`` and its index alone, so training can stop and resume
    anywhere, in any order and with any number of workers, and see the same bits.  The
    options about captions do not change the pictures.
    """

    def __init__(
        self,
        *,
        size: int = DEFAULT_SIZE,
        seed: int = 0,
        length: int = _DEFAULT_LENGTH,
        two_object_fraction: float = 0.0,
        caption_dropout: float = 0.0,
        omission: float = 0.0,
        paraphrases: bool = True,
    ) -> None:
        """Describe the dataset; nothing is drawn yet.

        Args:
            size: Width and height of the pictures in pixels.
            seed: Seed of all draws.
            length: Number of examples.
            two_object_fraction: Share of scenes with two items.
            caption_dropout: Probability of an empty caption, for classifier-free guidance.
            omission: Probability, for each of size, position and background, that the
                caption does not mention it, so that short prompts work as well.
            paraphrases: Whether captions vary in wording, or are all canonical.

        Raises:
            ShapesError: If a number is out of its range.
        """
        if size < 1 or length < 0 or seed < 0:
            raise ShapesError("size must be positive, length and seed must not be negative")
        shares = {
            "two_object_fraction": two_object_fraction,
            "caption_dropout": caption_dropout,
            "omission": omission,
        }
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ShapesError(f"{name} must be between 0 and 1, not {share}")
        self._size = size
        self._seed = seed
        self._length = length
        self._two_object_fraction = two_object_fraction
        self._caption_dropout = caption_dropout
        self._omission = omission
        self._paraphrases = paraphrases

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._length

    def __getitem__(self, index: int) -> ShapesSample:
        """Draw one example.

        Args:
            index: Which one, from 0 to the length less one.

        Returns:
            The picture and its caption.

        Raises:
            IndexError: If there is no such example.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"index {index} is out of range for {self._length} examples")
        picture_rng, caption_rng = self._generators(index)
        scene = self._draw(picture_rng)
        picture = render(scene, picture_rng, size=self._size)
        pixels = torch.from_numpy(picture).permute(2, 0, 1).to(torch.float32)
        return {"image": pixels / 127.5 - 1, "prompt": self._describe(scene, caption_rng)}

    def scene(self, index: int) -> Scene:
        """Return the scene that the picture at ``index`` shows."""
        return self._draw(self._generators(index)[0])

    def _generators(self, index: int) -> tuple[np.random.Generator, np.random.Generator]:
        # Separate streams, so that options about captions leave the pictures as they are.
        picture, words = np.random.SeedSequence([self._seed, index]).spawn(2)
        return np.random.default_rng(picture), np.random.default_rng(words)

    def _draw(self, rng: np.random.Generator) -> Scene:
        return draw_scene(rng, two_objects=bool(rng.random() < self._two_object_fraction))

    def _describe(self, scene: Scene, rng: np.random.Generator) -> str:
        # All draws happen in any case: options then do not shift one another's luck.
        dropped, no_size, no_position, no_background = rng.random(4) < (
            self._caption_dropout,
            self._omission,
            self._omission,
            self._omission,
        )
        if dropped:
            return ""
        items = tuple(
            replace(
                item,
                size=None if no_size else item.size,
                position=None if no_position else item.position,
            )
            for item in scene.items
        )
        told = replace(scene, items=items, background=None if no_background else scene.background)
        return paraphrase(told, rng) if self._paraphrases else caption(told)

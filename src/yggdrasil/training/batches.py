"""Batches in an order that a seed and a step decide, so that a run can resume anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

__all__ = ["Samples", "batches", "collate"]


class Samples(Protocol):
    """A dataset: numbered samples, each a mapping of names to values."""

    def __len__(self) -> int:
        """Counts the samples."""
        ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        """Gives one sample."""
        ...


def batches(
    samples: Samples, *, batch_size: int, seed: int, first_step: int, steps: int
) -> Iterator[dict[str, Any]]:
    """Gives the batches of the steps ``first_step`` to ``steps - 1``.

    Samples come in a new random order each time through; which ones a step gets depends on seed
    and step alone.

    Args:
        samples: The dataset; not empty.
        batch_size: Samples a batch.
        seed: Of the order.
        first_step: Number of the first batch wanted.
        steps: Number of the last batch, plus one.
    """
    count = len(samples)
    epoch, order = -1, []
    for step in range(first_step, steps):
        chosen = []
        for place in range(step * batch_size, (step + 1) * batch_size):
            if place // count != epoch:
                epoch = place // count
                order = _order(count, seed, epoch)
            chosen.append(samples[order[place % count]])
        yield collate(chosen)


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins samples: tensors are stacked, everything else is listed."""
    batch: dict[str, Any] = {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        stack = isinstance(values[0], torch.Tensor)
        # Contiguous: pictures that were turned from h w c stay strided like that otherwise, and
        # convolutions that get such an input take a far slower way back.
        batch[name] = torch.stack(values).contiguous() if stack else values
    return batch


def _order(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()

"""Datasets by name, for recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.training.batches import Samples
from yggdrasil.training.datasets.shapes import ShapesDataset

__all__ = ["DATASETS", "make_dataset"]

DATASETS: Mapping[str, Callable[..., Samples]] = {"shapes": ShapesDataset}


def make_dataset(type: str, **options: Any) -> Samples:
    """Makes a dataset.

    Args:
        type: Its name.
        **options: Its arguments.

    Raises:
        ConfigError: There is no such dataset, or it does not take an option.
    """
    if type not in DATASETS:
        raise ConfigError(f"There is no dataset {type!r}.{nearest(type, DATASETS)}")
    try:
        return DATASETS[type](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Dataset {type!r}: {error}") from error

"""Where negative sizes come from."""

from __future__ import annotations

import pytest
import torch

from yggdrasil.core.registry import make_block
from yggdrasil.core.values import CodecSpecValue, ConditioningValue, LatentShapeValue

GIVEN = {"original_size": (100, 200), "crops_coords_top_left": (3, 4), "target_size": (50, 60)}
OTHER = {"negative_original_size": (10, 20), "negative_crops_coords_top_left": (1, 2)}


def negative(*, aesthetic=False, **call):
    sizes = make_block("conditioner/picture_sizes", aesthetic=aesthetic).embed(
        ConditioningValue(tensors={"encoder_hidden_states": torch.zeros(1, 7, 5)}, batch=1),
        LatentShapeValue(shape=(1, 4, 8, 8), dtype=torch.float32, device=torch.device("cpu")),
        CodecSpecValue(channels=4, scale=8),
        **call,
    )
    return sizes.branches["negative"]["time_ids"].tolist()


@pytest.mark.parametrize(
    ("aesthetic", "manner", "expected"),
    [
        (False, "each", [10, 20, 3, 4, 50, 60]),
        (False, "both", [100, 200, 3, 4, 50, 60]),
        (False, "same", [100, 200, 3, 4, 50, 60]),
        (True, "each", [10, 20, 1, 2, 2.5]),
        (True, "same", [100, 200, 3, 4, 2.5]),
    ],
)
def test_the_negative_branch_has_the_sizes_of_its_manner(aesthetic, manner, expected):
    assert negative(aesthetic=aesthetic, negative_sizes=manner, **GIVEN, **OTHER) == [expected]

from __future__ import annotations

import numpy as np
import pytest

from yggdrasil.pipelines.comparison.spread import Spread


def test_the_interval_is_around_the_median_and_shrinks_with_more_measurements():
    few, many = (
        Spread.of(np.random.default_rng(0).normal(10, 1, count).tolist()) for count in (10, 1000)
    )
    for spread in (few, many):
        assert spread.low <= spread.median <= spread.high
    assert many.high - many.low < few.high - few.low
    assert many.low < 10 < many.high


def test_one_slow_call_does_not_move_the_median():
    assert Spread.of([1.0] * 9 + [100.0]).median == 1.0


def test_the_same_measurements_give_the_same_interval():
    assert Spread.of([1.0, 2.0, 5.0, 7.0]) == Spread.of([1.0, 2.0, 5.0, 7.0])


def test_ratios_are_of_pairs():
    assert Spread.of_ratios([1.0, 20.0, 3.0], [2.0, 40.0, 6.0]).median == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratios([1.0, 2.0], [1.0])

from __future__ import annotations

import numpy as np
import pytest

from yggdrasil.pipelines.comparison.spread import Spread


def measured(seed, count=40):
    return np.random.default_rng(seed).normal(10, 1, count).tolist()


def test_the_interval_holds_the_truth_about_nineteen_times_in_twenty():
    spreads = [Spread.of(measured(seed)) for seed in range(60)]
    assert all(each.low <= each.median <= each.high for each in spreads)
    assert 52 <= sum(each.low <= 10 <= each.high for each in spreads) < 60


def test_the_interval_shrinks_with_more_measurements():
    few, many = Spread.of(measured(0, 10)), Spread.of(measured(0, 1000))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_one_slow_call_does_not_move_the_median():
    assert Spread.of([1.0] * 9 + [100.0]).median == 1.0


def test_the_same_measurements_give_the_same_interval():
    assert Spread.of([1.0, 2.0, 5.0, 7.0]) == Spread.of([1.0, 2.0, 5.0, 7.0])


def test_ratios_are_of_pairs():
    assert Spread.of_ratios([1.0, 20.0, 3.0], [2.0, 40.0, 6.0]).median == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratios([1.0, 2.0], [1.0])

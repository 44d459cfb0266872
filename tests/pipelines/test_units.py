from __future__ import annotations

import pytest

from yggdrasil.pipelines.units import in_bytes, in_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3200, "3.1 KiB"),
        (999 * 1024, "999.0 KiB"), (1023 * 1024, "1.0 MiB"), (2**30, "1.0 GiB"),
        (5 * 2**40, "5.0 TiB"),
    ],
)  # fmt: skip
def test_bytes(count, text):
    assert in_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"), (8e-6, "8 µs"), (2.14e-3, "2.1 ms"), (0.034, "34 ms"), (1.249, "1.25 s"),
        (59.99, "59.99 s"), (185.4, "3 min 05 s"), (119.7, "2 min 00 s"),
    ],
)  # fmt: skip
def test_seconds(seconds, text):
    assert in_seconds(seconds) == text

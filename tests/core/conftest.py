from __future__ import annotations

import pytest

from tests.core import toys


@pytest.fixture(autouse=True)
def _forget_calls():
    toys.calls.clear()

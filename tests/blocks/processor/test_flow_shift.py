from __future__ import annotations

import pytest
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

from yggdrasil.core.registry import make_block


@pytest.mark.parametrize("tokens", [16, 1024, 4300, 4301, 16384])
@pytest.mark.parametrize("steps", [1, 4, 10, 28, 50, 200])
def test_the_shift_is_that_of_diffusers(tokens, steps):
    assert make_block("processor/flow_shift").shift(tokens, steps) == compute_empirical_mu(
        tokens, steps
    )

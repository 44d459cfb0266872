from __future__ import annotations

import pytest
import torch

from yggdrasil.blocks.codec.posterior import PosteriorValue
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BranchedValue


def test_mean_squared_error():
    prediction, target = torch.randn(2, 2, 4, 8, 8).half()
    loss = make_block("objective/mse").loss(prediction, target)
    assert loss.dtype == torch.float32
    expected = ((prediction.float() - target.float()) ** 2).mean()
    assert torch.allclose(loss, expected)


def test_mean_squared_error_of_what_does_not_fit():
    block = make_block("objective/mse")
    with pytest.raises(InputError, match=r"\[1, 4\] and the target \[2, 4\]"):
        block.loss(torch.zeros(1, 4), torch.zeros(2, 4))
    branched = BranchedValue(("positive",), (torch.zeros(1, 4),))
    with pytest.raises(InputError, match="train without guidance"):
        block.loss(branched, torch.zeros(1, 4))


def test_autoencoding():
    made, true = torch.randn(2, 2, 3, 8, 8)
    posterior = PosteriorValue(parameters=torch.randn(2, 8, 4, 4))
    loss = make_block("objective/autoencoding", l1_weight=0.5, mse_weight=2.0, kl_weight=1e-2).loss(
        made, true, posterior
    )
    expected = (
        0.5 * (made - true).abs().mean()
        + 2.0 * ((made - true) ** 2).mean()
        + 1e-2 * posterior.kl().mean() / (3 * 8 * 8)
    )
    assert torch.allclose(loss, expected)


def test_autoencoding_without_a_divergence():
    made, true = torch.randn(2, 2, 3, 8, 8)
    certain = PosteriorValue(parameters=torch.zeros(2, 4, 4, 4), certain=True)
    loss = make_block("objective/autoencoding", kl_weight=0.0).loss(made, true, certain)
    assert torch.allclose(loss, (made - true).abs().mean())


def test_autoencoding_of_what_does_not_fit():
    posterior = PosteriorValue(parameters=torch.zeros(1, 8, 4, 4))
    with pytest.raises(InputError, match="must have one shape"):
        make_block("objective/autoencoding").loss(
            torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 8), posterior
        )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"kl_weight": -1.0}, "kl_weight is -1.0"),
        ({"l1_weight": float("nan")}, "l1_weight is nan"),
        ({"l1_weight": 0.0}, "nothing compares the pictures"),
    ],
)
def test_refused_weights(weights, message):
    with pytest.raises(ConfigError, match=f"objective/autoencoding: .*{message}"):
        make_block("objective/autoencoding", **weights)


def test_the_figure_weighs_more_than_the_ground():
    latents = torch.zeros(2, 4, 8, 8)
    latents[:, 1, 2:4, 2:4] = 1.5
    latents += torch.tensor([0.3, -2.0])[:, None, None, None]  # grounds differ
    on_figure, on_ground = torch.zeros(2, 2, 4, 8, 8)
    on_figure[:, :, 2, 2] = 1.0
    on_ground[:, :, 6, 6] = 1.0
    block = make_block("objective/figure_mse", figure_weight=3.0)
    target = torch.zeros(2, 4, 8, 8)
    on_figure, on_ground = (block.loss(each, target, latents) for each in (on_figure, on_ground))
    assert torch.isclose(on_figure, 4 * on_ground)
    weights = (60 * 1.0 + 4 * 4.0) / 64
    assert torch.isclose(on_ground, torch.tensor(1 / 64 / weights))
    anything = torch.randn(2, 4, 8, 8)
    assert torch.isclose(
        make_block("objective/figure_mse", figure_weight=0.0).loss(anything, target, latents),
        make_block("objective/mse").loss(anything, target),
    )


def test_figures_that_cannot_be():
    with pytest.raises(ConfigError, match="figure_weight"):
        make_block("objective/figure_mse", figure_weight=-1.0)
    with pytest.raises(InputError, match="must have one shape"):
        make_block("objective/figure_mse").loss(
            torch.zeros(1, 4), torch.zeros(2, 4), torch.zeros(2, 4, 8, 8)
        )

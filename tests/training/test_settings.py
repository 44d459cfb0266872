from __future__ import annotations

import pytest
from pydantic import ValidationError

from yggdrasil.training.settings import TrainingSettings


def test_settings_have_defaults_and_are_frozen():
    settings = TrainingSettings(steps=3)
    assert settings.batch_size == 1
    assert settings.optimizer.lr == 1e-4
    assert settings.ema is None
    with pytest.raises(ValidationError, match="frozen"):
        settings.steps = 4


@pytest.mark.parametrize(
    ("settings", "where", "message"),
    [
        ({}, ("steps",), "Field required"),
        ({"steps": 0}, ("steps",), "greater than 0"),
        ({"steps": 1, "batch_size": 0}, ("batch_size",), "greater than 0"),
        ({"steps": 1, "stepz": 1}, ("stepz",), "not permitted"),
        ({"steps": 1, "precision": "fp16"}, ("precision",), "'no' or 'bf16'"),
        ({"steps": 1, "max_grad_norm": 0}, ("max_grad_norm",), "greater than 0"),
        ({"steps": 1, "seed": -1}, ("seed",), "greater than or equal to 0"),
        ({"steps": 1, "optimizer": {"lr": 0}}, ("optimizer", "lr"), "greater than 0"),
        ({"steps": 1, "optimizer": {"lr": float("nan")}}, ("optimizer", "lr"), "finite number"),
        ({"steps": 1, "optimizer": {"lr": float("inf")}}, ("optimizer", "lr"), "finite number"),
        (
            {"steps": 1, "optimizer": {"betas": [0.9, 1.0]}},
            ("optimizer", "betas", 1),
            "less than 1",
        ),
        (
            {"steps": 1, "optimizer": {"lr_factors": {"unet": -1.0}}},
            ("optimizer", "lr_factors", "unet"),
            "greater than or equal to 0",
        ),
        ({"steps": 1, "schedule": {"name": "cos"}}, ("schedule", "name"), "'cosine'"),
        (
            {"steps": 1, "schedule": {"warmup_steps": -1}},
            ("schedule", "warmup_steps"),
            "equal to 0",
        ),
        ({"steps": 1, "ema": {"decay": 1.0}}, ("ema", "decay"), "less than 1"),
    ],
)
def test_settings_that_cannot_be_say_which(settings, where, message):
    with pytest.raises(ValidationError, match=message) as caught:
        TrainingSettings(**settings)
    assert caught.value.errors()[0]["loc"] == where

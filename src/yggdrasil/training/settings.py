"""The settings of a training run, checked when they are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EmaSettings", "OptimizerSettings", "ScheduleSettings", "TrainingSettings"]


_Decay = Annotated[float, Field(ge=0, lt=1)]
_Factor = Annotated[float, Field(ge=0)]


class _Settings(BaseModel):
    """Settings are immutable, and a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OptimizerSettings(_Settings):
    """AdamW (Loshchilov and Hutter 2019).

    Attributes:
        lr: Learning rate at the top of the schedule.
        betas: Decay of the two moments.
        weight_decay: Decoupled weight decay.
        eps: Added to the root of the second moment.
        lr_factors: Per trained node, a factor on the learning rate.
    """

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0)
    eps: float = Field(default=1e-8, gt=0)
    lr_factors: dict[str, _Factor] = Field(default_factory=dict)


class ScheduleSettings(_Settings):
    """How the learning rate goes over the run.

    Attributes:
        name: A schedule of ``diffusers.optimization.get_scheduler``.
        warmup_steps: Steps of linear rise at the start.
    """

    name: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)


class EmaSettings(_Settings):
    """An exponential moving average of the weights.

    Attributes:
        decay: Its decay once it is warm; it starts as (1 + step) / (10 + step).
    """

    decay: float = Field(default=0.999, gt=0, lt=1)


class TrainingSettings(_Settings):
    """One run of the loop.

    Attributes:
        steps: Optimizer steps in all.
        batch_size: Samples a step.
        seed: Of the order of data and of every draw.
        precision: ``bf16`` runs forward passes under autocast; weights stay in float32.
        attention: ``math`` computes attention without a fused kernel; on a CPU the way back through
            the fused one is slower for small heads.
        max_grad_norm: Gradients are clipped to this norm; None clips nothing.
        optimizer: See there.
        schedule: See there.
        ema: See there; None keeps no average.
        checkpoint_every: Steps between checkpoints.
        checkpoints_kept: How many of the latest are kept.
        log_every: Steps between lines of the log.
    """

    steps: int = Field(gt=0)
    batch_size: int = Field(default=1, gt=0)
    seed: int = Field(default=0, ge=0)
    precision: Literal["no", "bf16"] = "no"
    attention: Literal["auto", "math"] = "auto"
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    ema: EmaSettings | None = None
    checkpoint_every: int = Field(default=500, gt=0)
    checkpoints_kept: int = Field(default=2, gt=0)
    log_every: int = Field(default=10, gt=0)

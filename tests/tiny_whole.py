"""Pipelines without a template in miniature: random weights, made in a moment."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMScheduler, UNet2DModel

from tests.tiny_models import randomize


def tiny_ddpm(cls: type, **options: Any) -> Any:
    """Makes a pipeline of one UNet and its scheduler."""
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    pipeline = cls(unet=randomize(unet, 0), scheduler=DDPMScheduler(), **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline

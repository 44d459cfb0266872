"""A recipe that is through in two seconds: two phases of a few steps at 32 pixels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

_DATA = {"type": "shapes", "size": 32, "seed": 1, "length": 64}

_RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "smoke",
    "template": "sd15",
    "nodes": {"solver": {"type": "solver/ddim"}},
    "prompt_length": 12,
    "words": ["a", "circle", "on", "red", "white", "background"],
    "components": {
        "vae": {
            "block_out_channels": [8, 8],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "sample_size": 32,
            "scaling_factor": 1.0,
            "force_upcast": False,
        },
        "text_encoder": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 12,
        },
        "unet": {
            "sample_size": 16,
            "block_out_channels": [8, 8],
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "layers_per_block": 1,
            "attention_head_dim": 4,
            "cross_attention_dim": 16,
            "norm_num_groups": 4,
        },
        # An offset of 1, since Diffusers mends any other when it loads a Stable Diffusion.
        "scheduler": {
            "prediction_type": "v_prediction",
            "clip_sample": False,
            "steps_offset": 1,
        },
    },
    "zero": {"unet": ["conv_out"]},
    "phases": [
        {
            "name": "first",
            "wiring": "denoise",
            "train": ["vae"],
            "nodes": {"objective": {"type": "objective/autoencoding"}},
            "inputs": {"image": "pixels"},
            "data": _DATA,
            "normalize_latents": 16,
            "settings": {"steps": 4, "batch_size": 2, "ema": {"decay": 0.9}, "precision": "bf16"},
        },
        {
            "name": "second",
            "train": ["unet", "text"],
            "nodes": {
                "timesteps": {"type": "timesteps/uniform"},
                "objective": {"type": "objective/mse"},
            },
            "inputs": {"image": "pixels", "prompt": "prompt"},
            "data": _DATA,
            "settings": {"steps": 4, "batch_size": 2, "checkpoint_every": 2},
        },
    ],
}


def smoke_recipe() -> dict[str, Any]:
    """Gives the recipe as plain data of one's own."""
    return copy.deepcopy(_RECIPE)


def write_recipe(folder: Path, recipe: dict[str, Any] | None = None) -> Path:
    """Writes a recipe, the smoke recipe unless another is given."""
    path = folder / "smoke.yaml"
    path.write_text(yaml.safe_dump(recipe or smoke_recipe(), sort_keys=False), encoding="utf-8")
    return path

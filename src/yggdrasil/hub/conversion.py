"""Diffusers' converters: from the names of a checkpoint to those of a model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

__all__ = ["Converted", "convert"]


class Converted(NamedTuple):
    """A model made of tensors.

    Attributes:
        module: The model; what is lost is on the meta device.
        lost: Names of its tensors that were not among them.
        unread: How many of them it has no place for.
    """

    module: nn.Module
    lost: list[str]
    unread: int


def convert(
    cls: Any,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    dtype: torch.dtype,
) -> Converted:
    """Makes a model of a component's tensors.

    Args:
        cls: The model's class, of Diffusers or of transformers.
        tensors: By their names in the checkpoint.
        config: The model's configuration.
        dtype: Of the model's weights.

    Raises:
        RuntimeError: A tensor is of another shape than the model's.
        ValueError: The same, or there is nothing of the component among the tensors.
    """
    # Imported here: the modules are large, and folders do not need them.
    from diffusers.loaders.single_file_model import (  # noqa: PLC0415
        SINGLE_FILE_LOADABLE_CLASSES as CONVERTERS,
    )
    from diffusers.loaders.single_file_utils import (  # noqa: PLC0415
        create_diffusers_clip_model_from_ldm,
        create_diffusers_t5_model_from_checkpoint,
    )

    if cls.__name__ not in CONVERTERS:  # a text encoder
        with tempfile.TemporaryDirectory() as folder:  # its converter reads a file alone
            Path(folder, "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
            make = create_diffusers_clip_model_from_ldm
            if cls.config_class.model_type == "t5":
                make = create_diffusers_t5_model_from_checkpoint
            module = make(cls, tensors, config=folder, torch_dtype=dtype, local_files_only=True)
        module.tie_weights()  # a file may hold once what the model holds twice
        # Its converter says nothing of what it passes over, such as the last layer of OpenCLIP.
        lost = [name for name, tensor in module.state_dict().items() if tensor.is_meta]
        return Converted(module, lost, unread=0)
    named = CONVERTERS[cls.__name__]["checkpoint_mapping_fn"](
        checkpoint=dict(tensors), config=dict(config)
    )
    with init_empty_weights():
        module = cls.from_config(dict(config))
    # Contiguous, as a model keeps what it is loaded with: other strides give other last bits.
    values = {name: value.to(dtype).contiguous() for name, value in named.items()}
    lost, unexpected = module.load_state_dict(values, strict=False, assign=True)
    # What a converter does not know it passes on, or over. One that splits tensors gives more.
    unread = max(0, len(tensors) - len(values) + len(unexpected))
    return Converted(module, lost, unread)

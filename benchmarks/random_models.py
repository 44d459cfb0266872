"""Pipelines of Diffusers at full size, whose weights are drawn at random."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from tests.tiny_models import tiny_clip_tokenizer
from tests.tiny_t5 import tiny_t5_tokenizer
from yggdrasil.core.component import Component
from yggdrasil.hub.config_library import ConfigLibrary

__all__ = ["parameters_of", "random_pipeline"]

# Vocabularies are no configuration. These are small, and every id of theirs is one of the model's.
_TOKENIZERS = {"CLIPTokenizer": tiny_clip_tokenizer, "T5TokenizerFast": tiny_t5_tokenizer}


def random_pipeline(
    library: ConfigLibrary,
    device: torch.device,
    dtype: torch.dtype,
    without: tuple[str, ...] = (),
) -> Any:
    """Makes a pipeline of Diffusers as registered configurations have it.

    Args:
        library: The configurations.
        device: On which its models are, and their weights are drawn.
        dtype: Of the models.
        without: Components that are left out, as Diffusers allows for some.
    """
    torch.manual_seed(0)
    pipeline = getattr(diffusers, library.pipeline_class())
    optional = pipeline._optional_components  # noqa: SLF001 - says what a class does without
    parts: dict[str, Any] = dict.fromkeys((*optional, *without))
    for name, registered in library.configs.components.items():
        if name in without:
            continue
        if registered.vocabulary is not None:
            parts[name] = _TOKENIZERS[registered.class_name]()
            continue
        cls = getattr(diffusers, registered.class_name, None)
        slot = Component[Any](cls or getattr(transformers, registered.class_name))
        slot.__set_name__(object, name)
        source = library.source(slot)
        with torch.device(device):
            made: Any = None if source is None else source.load(slot, dtype)
        parts[name] = _drawn(made) if isinstance(made, nn.Module) else made
    pipe = pipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def parameters_of(pipe: Any) -> int:
    """Counts the parameters of all its models."""
    models = [each for each in pipe.components.values() if isinstance(each, nn.Module)]
    return sum(parameter.numel() for model in models for parameter in model.parameters())


@torch.no_grad()
def _drawn(model: nn.Module) -> nn.Module:
    """Fills every parameter so that activations keep their size, and each takes part."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
        else:
            parameter.normal_(std=0.1, mean=1.0 if name.endswith("weight") else 0.0)
    return model.eval().requires_grad_(requires_grad=False)

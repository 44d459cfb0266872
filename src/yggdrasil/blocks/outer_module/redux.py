"""Pictures in the place of a prompt, as FLUX Redux reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import SiglipVisionModel

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.text_encoder.prompts import texts_for_each
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Pictures, PooledEmbeds, PromptEmbeds, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractOuterModule
from yggdrasil.core.values import Conditioning

__all__ = ["Embeds", "Redux"]

_log = logging.getLogger(__name__)


class Embeds(NamedTuple):
    """What a model reads in the place of a prompt.

    Attributes:
        prompt_embeds: ``1 tokens width``.
        pooled_prompt_embeds: ``1 width``.
    """

    prompt_embeds: PromptEmbeds
    pooled_prompt_embeds: PooledEmbeds


def _embedder_class() -> type:
    # It stands among Diffusers' pipelines, whose modules take seconds to import.
    from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder  # noqa: PLC0415

    return ReduxImageEncoder  # type: ignore[no-any-return] # Diffusers is untyped


def _extractor_class() -> type:
    # Importing it without torchvision prints a remark.
    from transformers import SiglipImageProcessor  # noqa: PLC0415

    return SiglipImageProcessor  # type: ignore[no-any-return] # transformers is untyped


@register_block("outer_module/redux")
class Redux(AbstractOuterModule):
    """Embeds pictures as tokens of text, behind those of a prompt if there is one.

    Args:
        tokens: How many tokens stand for the prompt of a model without text encoders.
        pooled_width: Width of the vector for the whole text there.

    Source:
        Black Forest Labs 2024, FLUX.1 Redux; Diffusers' ``FluxPriorReduxPipeline``.
    """

    image_encoder = Component[Any](SiglipVisionModel)
    feature_extractor = Component[Any](_extractor_class)
    image_embedder = Component[Any](_embedder_class)

    def __init__(self, tokens: int = 512, pooled_width: int = 768) -> None:
        check_count("tokens", tokens)
        check_count("pooled_width", pooled_width)
        self.tokens = tokens
        self.pooled_width = pooled_width

    @op
    def texts(self, pictures: Pictures, prompt: Prompts) -> Prompts:
        """Gives a prompt for each picture.

        Args:
            pictures: As for ``embed``.
            prompt: One for all, or one for each.

        Raises:
            InputError: There are not as many.
        """
        return texts_for_each("prompt", prompt, _count(pictures), "pictures")

    @op
    def embed(
        self,
        pictures: Pictures,
        conditioning: Conditioning | None = None,
        prompt_embeds_scale: float | list[float] = 1.0,
        pooled_prompt_embeds_scale: float | list[float] = 1.0,
    ) -> Embeds:
        """Embeds pictures, and makes one of several as their weights say.

        Args:
            pictures: PIL pictures or arrays ``b h w c``, one or a list.
            conditioning: The prompts', one for each picture; zeros without, or where it holds
                nothing.
            prompt_embeds_scale: A weight for all, or one for each picture.
            pooled_prompt_embeds_scale: The same for the vectors for the whole text.

        Raises:
            InputError: There are not as many weights or prompts as pictures.
        """
        encoder = self.image_encoder
        seen = self.feature_extractor.preprocess(
            images=pictures, do_resize=True, return_tensors="pt", do_convert_rgb=True
        ).to(device=computing_device(encoder), dtype=encoder.dtype)
        states = self.image_embedder(encoder(**seen).last_hidden_state).image_embeds
        count, _, width = states.shape
        if conditioning is not None and not conditioning.tensors:
            _log.warning(
                "prompt is given, and the model came without text encoders to read it: it is "
                "passed over. Load them with the model for it to count."
            )
            conditioning = None
        if conditioning is None:
            text, pooled = states.new_zeros(count, self.tokens, width), None
        else:
            text = conditioning.tensors["encoder_hidden_states"]
            pooled = conditioning.tensors["pooled_projections"]
        if pooled is None:
            pooled = states.new_zeros(count, self.pooled_width)
        if len(text) != count:
            raise InputError(
                f"There are {len(text)} prompts for {count} pictures: give one for each."
            )
        first = _weights("prompt_embeds_scale", prompt_embeds_scale, states)
        second = _weights("pooled_prompt_embeds_scale", pooled_prompt_embeds_scale, states)
        joined = torch.cat([text, states], dim=1) * first[:, None, None]
        return Embeds(
            torch.sum(joined, dim=0, keepdim=True),
            torch.sum(pooled * second[:, None], dim=0, keepdim=True),
        )


def _count(pictures: Any) -> int:
    """Gives how many pictures there are."""
    return len(pictures) if isinstance(pictures, list) or hasattr(pictures, "shape") else 1


def _weights(name: str, given: float | Sequence[float], states: Tensor) -> Tensor:
    """Gives a weight for each picture."""
    several = list(given) if isinstance(given, Sequence) else [given] * len(states)
    if len(several) != len(states):
        raise InputError(
            f"{name} has {len(several)} weights for {len(states)} pictures: give one for all, or "
            "one for each."
        )
    return torch.tensor(several, device=states.device, dtype=states.dtype)

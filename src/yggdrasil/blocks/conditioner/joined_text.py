"""What text encoders say, as one conditioning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from yggdrasil.blocks.batching import repeat_each
from yggdrasil.blocks.checks import check_count
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Many, PooledEmbeds, PromptEmbeds, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import (
    BackboneSpec,
    Conditioning,
    ConditioningValue,
    TextStates,
    TextStatesValue,
)

__all__ = ["JoinedTextConditioner"]

_STATES = "encoder_hidden_states"
_TOKENS = 512


@register_block("conditioner/joined_text")
class JoinedTextConditioner(AbstractConditioner):
    """Joins the states of text encoders.

    Args:
        tokens: Names of encoders: those of an inner list are joined along the width, and the inner
            lists, filled up with zeros to the greatest width, along the tokens.
        pooled: Names of the encoders whose vectors for the whole text are joined.
        pooled_name: What the model calls the joined vector.
        filled: Names of encoders in whose place stand zeros, as wide as the text that the backbone
            reads, where the model comes without them.
        zero_empty: Whether no negative prompt is zeros in the place of an empty text;
            ``force_zeros_for_empty_prompt`` of the model says it.
        optional: Whether a model without any of the encoders gives a conditioning that holds
            nothing, for whoever reads it to do without.

    Source:
        Podell et al. 2023 (arXiv:2307.01952), section 2.1; Esser et al. 2024 (arXiv:2403.03206),
        section 5 and appendix B.
    """

    pipeline_settings: ClassVar[Mapping[str, str]] = {"zero_empty": "force_zeros_for_empty_prompt"}

    def __init__(
        self,
        tokens: Sequence[Sequence[str]],
        pooled: Sequence[str] = (),
        pooled_name: str = "pooled_projections",
        filled: Sequence[str] = (),
        zero_empty: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
        optional: bool = False,  # noqa: FBT001, FBT002 - the same
    ) -> None:
        if not tokens or not all(tokens):
            raise ConfigError(
                f"tokens is {tokens!r}: give lists of text encoders, such as "
                "[[clip_l, clip_g], [t5]]."
            )
        self.tokens = tokens
        self.pooled = pooled
        self.pooled_name = pooled_name
        self.filled = frozenset(filled)
        self.zero_empty = bool(zero_empty)
        self.optional = bool(optional)

    @op
    def encode(
        self,
        prompt: Prompts,
        parts: Many[TextStates] = (),
        backbone: BackboneSpec | None = None,
        max_sequence_length: int = _TOKENS,
    ) -> Conditioning:
        """Joins what the encoders make of the prompts.

        Args:
            prompt: Not read here; it is what the encoders read.
            parts: Their states; an encoder that the model does not have is left out.
            backbone: Says how wide the zeros of an encoder that is not there are.
            max_sequence_length: How many of them there are.

        Raises:
            InputError: No encoder gives any.
        """
        del prompt
        return self._join(parts, backbone, max_sequence_length)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        parts: Many[TextStates] = (),
        negative_prompt: Prompts | None = None,
        backbone: BackboneSpec | None = None,
        max_sequence_length: int = _TOKENS,
    ) -> Conditioning:
        """Joins what the encoders make of the negative prompts.

        Args:
            positive: Gives the shape of zeros.
            parts: The encoders' states.
            negative_prompt: Whether there is one; it is what the encoders read.
            backbone: As for ``encode``.
            max_sequence_length: The same.

        Raises:
            InputError: No encoder gives any.
        """
        if self.zero_empty and negative_prompt is None:
            zeros = {name: torch.zeros_like(each) for name, each in positive.tensors.items()}
            return ConditioningValue(tensors=zeros, batch=positive.batch)
        return self._join(parts, backbone, max_sequence_length)

    @op
    def adopt(
        self,
        prompt_embeds: PromptEmbeds,
        pooled_prompt_embeds: PooledEmbeds | None = None,
        num_images_per_prompt: int = 1,
    ) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a prompt.

        Args:
            prompt_embeds: ``b tokens width``.
            pooled_prompt_embeds: ``b width``, for a model that reads them.
            num_images_per_prompt: How many samples each is for.
        """
        return self._adopted(prompt_embeds, pooled_prompt_embeds, num_images_per_prompt)

    @op
    def adopt_negative(
        self,
        negative_prompt_embeds: PromptEmbeds,
        negative_pooled_prompt_embeds: PooledEmbeds | None = None,
        num_images_per_prompt: int = 1,
    ) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a negative prompt.

        Args:
            negative_prompt_embeds: ``b tokens width``.
            negative_pooled_prompt_embeds: ``b width``, for a model that reads them.
            num_images_per_prompt: How many samples each is for.
        """
        return self._adopted(
            negative_prompt_embeds, negative_pooled_prompt_embeds, num_images_per_prompt
        )

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses counts that cannot be.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        del op
        if "num_images_per_prompt" in known:
            check_count("num_images_per_prompt", known["num_images_per_prompt"])

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that no negative prompt needs no encoding where it is zeros.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        empty = known.get("negative_prompt") is None
        if op == "encode_negative" and self.zero_empty and empty:
            return frozenset({"parts"})
        return frozenset()

    def _join(
        self, parts: tuple[TextStatesValue, ...], backbone: BackboneSpec | None, tokens: int
    ) -> ConditioningValue:
        by_name = {part.encoder: part for part in parts}
        groups = [
            [by_name[name].states for name in names if name in by_name] for names in self.tokens
        ]
        first = next((states[0] for states in groups if states), None)
        if first is None and self.optional:
            return ConditioningValue(tensors={}, batch=0)
        if first is None:
            raise InputError(
                f"No text encoder gives any of {list(self.tokens)}: the graph has "
                f"{', '.join(by_name) or 'none'}."
            )
        text_width = None if backbone is None else backbone.text_width
        wide = []
        for names, states in zip(self.tokens, groups, strict=True):
            if states:
                wide.append(torch.cat(states, dim=-1) if len(states) > 1 else states[0])
            elif text_width is not None and self.filled.issuperset(names):
                wide.append(first.new_zeros(len(first), tokens, text_width))
        width = max(states.shape[-1] for states in wide)
        even = [pad(states, (0, width - states.shape[-1])) for states in wide]
        joined = torch.cat(even, dim=-2) if len(even) > 1 else wide[0]
        tensors = {_STATES: joined}
        vectors = [by_name[name].pooled for name in self.pooled if name in by_name]
        given = [vector for vector in vectors if vector is not None]
        if given:
            tensors[self.pooled_name] = torch.cat(given, dim=-1) if len(given) > 1 else given[0]
        return ConditioningValue(tensors=tensors, batch=len(joined))

    def _adopted(self, embeds: Tensor, pooled: Tensor | None, copies: int) -> ConditioningValue:
        tensors = {_STATES: repeat_each(embeds, copies)}
        if pooled is not None:
            tensors[self.pooled_name] = repeat_each(pooled, copies)
        return ConditioningValue(tensors=tensors, batch=len(embeds) * copies)

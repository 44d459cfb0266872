"""What text encoders have in common that give states alone, of as many tokens as a call says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from yggdrasil.blocks.batching import repeat_each
from yggdrasil.blocks.checks import check_count, check_layers
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.text_encoder.prompts import check_prompts, negative_texts, own_texts
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.roles import AbstractTextEncoder
from yggdrasil.core.values import Conditioning, TextStates, TextStatesValue

__all__ = ["AbstractSequenceEncoder"]

_TOKENS = 512


class AbstractSequenceEncoder(AbstractTextEncoder):
    """A text encoder that gives hidden states alone, of as many tokens as a call says.

    A subclass names the classes of its slots and makes tokens of texts.

    Args:
        encoder: What the encoder is called by the block that joins the states.
        layers: Which hidden states to give side by side, counted from 0, the embeddings; without
            any, the last ones.
        most_tokens: How many tokens a call may ask for at most.

    Attributes:
        arguments: Further arguments of the encoder's forward.
    """

    arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    tokenizer: Component[Any]
    text_encoder: Component[Any]

    def __init__(
        self, encoder: str, layers: Sequence[int] = (), most_tokens: int | None = None
    ) -> None:
        if most_tokens is not None:
            check_count("most_tokens", most_tokens)
        self.encoder = encoder
        self.layers = tuple(layers)
        self.most_tokens = most_tokens

    @op
    def encode(
        self,
        prompt: Prompts,
        own_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
        text_encoder_out_layers: Sequence[int] | None = None,
    ) -> TextStates:
        """Encodes what the picture is to be like.

        Args:
            prompt: One text, or one for each picture, for all encoders.
            own_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for; they follow one another.
            max_sequence_length: To how many tokens a prompt is cut or padded.
            text_encoder_out_layers: Which hidden states to give, in the place of the block's own.

        Raises:
            InputError: There is no prompt, or not as many of its own as for all.
        """
        texts = own_texts("prompt", prompt, own_prompt)
        states = self._states(texts, max_sequence_length, text_encoder_out_layers)
        return self._told(states, num_images_per_prompt)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        negative_prompt: Prompts = "",
        own_negative_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
        text_encoder_out_layers: Sequence[int] | None = None,
    ) -> TextStates:
        """Encodes what the picture is to be unlike.

        Args:
            positive: Gives the batch.
            negative_prompt: One text for all, or one for each prompt, for all encoders.
            own_negative_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for.
            max_sequence_length: To how many tokens a prompt is cut or padded.
            text_encoder_out_layers: As for ``encode``.

        Raises:
            InputError: There are not as many negative prompts as prompts.
        """
        count = positive.batch // num_images_per_prompt
        texts = negative_texts(negative_prompt, own_negative_prompt, count)
        states = self._states(texts, max_sequence_length, text_encoder_out_layers)
        return self._told(states, num_images_per_prompt)

    @abstractmethod
    def tokenized(self, texts: list[str], tokens: int) -> Mapping[str, Tensor]:
        """Makes tokens of texts.

        Args:
            texts: The prompts.
            tokens: How many of each.

        Returns:
            Arguments of the encoder's forward, each ``b tokens``.
        """

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that nothing is encoded where the model comes without this encoder.

        Args:
            op: The op.
            facts: Not read.
        """
        del op, facts
        return self.lacks("text_encoder")

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses counts and layers that cannot be, and prompts that are none.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        del op
        check_prompts(known, self.config.get("number", 1))
        tokens = known.get("max_sequence_length", 1)
        if self.most_tokens is not None and tokens > self.most_tokens:
            raise InputError(
                f"max_sequence_length is {tokens}, but text encoder {self.encoder!r} gives at most "
                f"{self.most_tokens} tokens: give max_sequence_length={self.most_tokens} or less."
            )
        layers = known.get("text_encoder_out_layers") or self.layers
        config = self.component_config("text_encoder") if layers else {}
        of_text = {**config, **config.get("text_config", {})}
        count = of_text.get("num_hidden_layers", of_text.get("num_layers"))
        # The embeddings are counted too.
        check_layers("text_encoder_out_layers", layers, None if count is None else count + 1)

    def _states(self, texts: list[str], tokens: int, layers: Sequence[int] | None) -> Tensor:
        """Runs the encoder on texts; ``b tokens width``, as wide as all layers together."""
        encoder, several = self.text_encoder, layers or self.layers
        device = computing_device(encoder)
        inputs = {name: each.to(device) for name, each in self.tokenized(texts, tokens).items()}
        output = encoder(**inputs, **self.arguments, output_hidden_states=bool(several))
        chosen = [output.hidden_states[layer] for layer in several] or [output[0]]
        states: Tensor = torch.cat(chosen, dim=-1) if len(chosen) > 1 else chosen[0]
        return states.to(encoder.dtype)

    def _told(self, states: Tensor, copies: int) -> TextStatesValue:
        return TextStatesValue(encoder=self.encoder, states=repeat_each(states, copies))

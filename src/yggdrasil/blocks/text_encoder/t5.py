"""T5's encoder as one of several text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import T5EncoderModel, T5TokenizerFast

from yggdrasil.blocks.batching import repeat_each
from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.clip_tokens import tokenize
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.text_encoder.prompts import check_prompts, negative_texts, own_texts
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractTextEncoder
from yggdrasil.core.values import Conditioning, TextStates, TextStatesValue

__all__ = ["T5TextEncoder"]

_TOKENS = 512


@register_block("text_encoder/t5")
class T5TextEncoder(AbstractTextEncoder):
    """T5's encoder as one of several: its last hidden states, padding included.

    Args:
        encoder: What the encoder is called by the block that joins the states.
        number: Which of the model's encoders it is; the third is in ``text_encoder_3``.
        most_tokens: How many tokens a call may ask for at most.

    Source:
        Raffel et al. 2020 (arXiv:1910.10683); Esser et al. 2024 (arXiv:2403.03206), section 5;
        ``_get_t5_prompt_embeds`` of Diffusers' ``StableDiffusion3Pipeline`` and ``FluxPipeline``,
        which mask no padding.
    """

    tokenizer = Component(T5TokenizerFast, optional=True)
    text_encoder = Component[Any](T5EncoderModel, optional=True)

    def __init__(self, encoder: str, number: int = 1, most_tokens: int = _TOKENS) -> None:
        check_count("number", number)
        check_count("most_tokens", most_tokens)
        self.encoder = encoder
        self.most_tokens = most_tokens
        suffix = "" if number == 1 else f"_{number}"
        self.move_slot("tokenizer", folder=f"tokenizer{suffix}")
        self.move_slot("text_encoder", folder=f"text_encoder{suffix}")

    @op
    def encode(
        self,
        prompt: Prompts,
        own_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
    ) -> TextStates:
        """Encodes what the picture is to be like.

        Args:
            prompt: One text, or one for each picture, for all encoders.
            own_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for; they follow one another.
            max_sequence_length: To how many tokens a prompt is cut or padded.

        Raises:
            InputError: There is no prompt, or not as many of its own as for all.
        """
        texts = own_texts("prompt", prompt, own_prompt)
        return self._states(texts, max_sequence_length, num_images_per_prompt)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        negative_prompt: Prompts = "",
        own_negative_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
    ) -> TextStates:
        """Encodes what the picture is to be unlike.

        Args:
            positive: Gives the batch.
            negative_prompt: One text for all, or one for each prompt, for all encoders.
            own_negative_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for.
            max_sequence_length: To how many tokens a prompt is cut or padded.

        Raises:
            InputError: There are not as many negative prompts as prompts.
        """
        count = positive.batch // num_images_per_prompt
        texts = negative_texts(negative_prompt, own_negative_prompt, count)
        return self._states(texts, max_sequence_length, num_images_per_prompt)

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that nothing is encoded where the model comes without this encoder.

        Args:
            op: The op.
            facts: Not read.
        """
        del op, facts
        return self.lacks("text_encoder")

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses counts that cannot be, and prompts that are none.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        del op
        for name in ("num_images_per_prompt", "max_sequence_length"):
            if name in known:
                check_count(name, known[name])
        tokens = known.get("max_sequence_length", 1)
        if tokens > self.most_tokens:
            raise InputError(
                f"max_sequence_length is {tokens}, but text encoder {self.encoder!r} gives at most "
                f"{self.most_tokens} tokens: give max_sequence_length={self.most_tokens} or less."
            )
        check_prompts(known, self.config["number"])

    def _states(self, texts: list[str], tokens: int, copies: int) -> TextStatesValue:
        """Runs the encoder on texts cut or padded to a number of tokens."""
        ids, _ = tokenize(self.tokenizer, texts, tokens, reader="T5")
        encoder = self.text_encoder
        states = encoder(ids.to(computing_device(encoder)))[0].to(encoder.dtype)
        return TextStatesValue(encoder=self.encoder, states=repeat_each(states, copies))

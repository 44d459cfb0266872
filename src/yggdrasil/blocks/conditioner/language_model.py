"""Prompts as a language model understands them that was made for chats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoTokenizer, Mistral3ForConditionalGeneration, Qwen3ForCausalLM

from yggdrasil.blocks.batching import repeat_each
from yggdrasil.blocks.checks import check_choice, check_count
from yggdrasil.blocks.clip_tokens import as_texts
from yggdrasil.blocks.text_encoder.prompts import negative_texts
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import PromptEmbeds, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import Conditioning, ConditioningValue

__all__ = ["LanguageModelConditioner"]

_TOKENS = 512
_CLASSES: Mapping[str, type] = {
    "mistral3": Mistral3ForConditionalGeneration,
    "qwen3": Qwen3ForCausalLM,
}


@register_block("conditioner/language_model")
class LanguageModelConditioner(AbstractConditioner):
    """A language model's hidden states, those of several layers side by side, padding included.

    The prompt is a message of a chat. The conditioning holds ``encoder_hidden_states``,
    ``b tokens layers*width``.

    Args:
        model: Which language model: ``mistral3`` or ``qwen3``.
        layers: Which hidden states to give, counted from 0, the embeddings.
        system: What the chat begins with, if it begins with anything.
        parts: Whether a message is a list of parts, of which its text is one.
        template: Arguments of the tokenizer's template for chats.
        unsaid: What is taken out of prompts, since it would be read as no text.

    Source:
        Black Forest Labs 2025, FLUX.2; ``_get_mistral_3_small_prompt_embeds`` of Diffusers'
        ``Flux2Pipeline`` and ``_get_qwen3_prompt_embeds`` of its ``Flux2KleinPipeline``.
    """

    tokenizer = Component[Any](AutoTokenizer)
    text_encoder = Component[Any](Mistral3ForConditionalGeneration)

    def __init__(
        self,
        model: Literal["mistral3", "qwen3"],
        layers: Sequence[int],
        system: str | None = None,
        parts: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
        template: Mapping[str, Any] | None = None,
        unsaid: Sequence[str] = (),
    ) -> None:
        check_choice("model", model, _CLASSES)
        if not layers:
            raise ConfigError("layers is empty: name at least one layer, such as [10, 20, 30].")
        self.layers = tuple(layers)
        self.system = system
        self.parts = bool(parts)
        self.template = dict(template or {})
        self.unsaid = tuple(unsaid)
        self.move_slot("text_encoder", cls=_CLASSES[model])

    @op
    def encode(
        self,
        prompt: Prompts,
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
        text_encoder_out_layers: Sequence[int] | None = None,
    ) -> Conditioning:
        """Encodes what the picture is to be like.

        Args:
            prompt: One text, or one for each picture.
            num_images_per_prompt: How many samples each prompt is for; they follow one another.
            max_sequence_length: To how many tokens a prompt is cut or padded, with all that its
                chat says beside it.
            text_encoder_out_layers: Which layers to read, in the place of the block's own.

        Raises:
            InputError: There is no prompt.
        """
        texts = as_texts("prompt", prompt)
        states = self._states(texts, max_sequence_length, text_encoder_out_layers)
        return _conditioning(states, num_images_per_prompt)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        negative_prompt: Prompts = "",
        num_images_per_prompt: int = 1,
        max_sequence_length: int = _TOKENS,
        text_encoder_out_layers: Sequence[int] | None = None,
    ) -> Conditioning:
        """Encodes what the picture is to be unlike.

        Args:
            positive: Gives the batch.
            negative_prompt: One text for all, or one for each prompt.
            num_images_per_prompt: How many samples each prompt is for.
            max_sequence_length: As for ``encode``.
            text_encoder_out_layers: The same.

        Raises:
            InputError: There are not as many negative prompts as prompts.
        """
        texts = negative_texts(negative_prompt, None, positive.batch // num_images_per_prompt)
        states = self._states(texts, max_sequence_length, text_encoder_out_layers)
        return _conditioning(states, num_images_per_prompt)

    @op
    def adopt(self, prompt_embeds: PromptEmbeds, num_images_per_prompt: int = 1) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a prompt.

        Args:
            prompt_embeds: ``b tokens width``.
            num_images_per_prompt: How many samples each is for.
        """
        return _conditioning(prompt_embeds, num_images_per_prompt)

    @op
    def adopt_negative(
        self, negative_prompt_embeds: PromptEmbeds, num_images_per_prompt: int = 1
    ) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a negative prompt.

        Args:
            negative_prompt_embeds: ``b tokens width``.
            num_images_per_prompt: How many samples each is for.
        """
        return _conditioning(negative_prompt_embeds, num_images_per_prompt)

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses counts and layers that cannot be, and prompts that are none.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        for name in ("num_images_per_prompt", "max_sequence_length"):
            if name in known:
                check_count(name, known[name])
        for name in ("prompt", "negative_prompt"):
            if name in known:
                as_texts(name, known[name])
        if op in ("encode", "encode_negative"):
            self._check_layers(known.get("text_encoder_out_layers") or self.layers)

    def _check_layers(self, layers: Sequence[int]) -> None:
        config = self.component_config("text_encoder")
        count = config.get("num_hidden_layers") or config.get("text_config", {}).get(
            "num_hidden_layers"
        )
        for layer in layers:
            check_count("a layer of text_encoder_out_layers", layer, least=0)
            if count is not None and layer > count:
                raise InputError(
                    f"text_encoder_out_layers names layer {layer}, but the text encoder has "
                    f"{count}: give numbers from 0 (the embeddings) to {count}."
                )

    def _states(self, texts: list[str], tokens: int, layers: Sequence[int] | None) -> Tensor:
        """Runs the model on a chat for each text; ``b tokens layers*width``."""
        inputs = self.tokenizer.apply_chat_template(
            [self._chat(text) for text in texts],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=tokens,
            **self.template,
        )
        encoder = self.text_encoder
        output = encoder(
            input_ids=inputs["input_ids"].to(encoder.device),
            attention_mask=inputs["attention_mask"].to(encoder.device),
            output_hidden_states=True,
            use_cache=False,
        )
        chosen = [output.hidden_states[layer] for layer in layers or self.layers]
        return torch.cat(chosen, dim=-1).to(encoder.dtype)

    def _chat(self, text: str) -> list[dict[str, Any]]:
        """Gives the messages of a chat."""
        for each in self.unsaid:
            text = text.replace(each, "")
        messages = [] if self.system is None else [("system", self.system)]
        return [
            {"role": role, "content": [{"type": "text", "text": said}] if self.parts else said}
            for role, said in (*messages, ("user", text))
        ]


def _conditioning(states: Tensor, copies: int) -> ConditioningValue:
    """Repeats each sample's states, the copies of one following one another."""
    repeated = repeat_each(states, copies)
    return ConditioningValue(tensors={"encoder_hidden_states": repeated}, batch=len(repeated))

"""A language model that was made for chats, as a text encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor
from transformers import AutoTokenizer, Mistral3ForConditionalGeneration, Qwen3ForCausalLM

from yggdrasil.blocks.checks import check_choice
from yggdrasil.blocks.text_encoder.sequence import AbstractSequenceEncoder
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError
from yggdrasil.core.registry import register_block

__all__ = ["LanguageModelEncoder"]

_CLASSES: Mapping[str, type] = {
    "mistral3": Mistral3ForConditionalGeneration,
    "qwen3": Qwen3ForCausalLM,
}


@register_block("text_encoder/language_model")
class LanguageModelEncoder(AbstractSequenceEncoder):
    """A language model's hidden states, those of several layers side by side, padding included.

    The prompt is a message of a chat.

    Args:
        encoder: What the encoder is called by the block that joins the states.
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

    arguments: ClassVar[Mapping[str, Any]] = {"use_cache": False}

    tokenizer = Component[Any](AutoTokenizer)
    text_encoder = Component[Any](Mistral3ForConditionalGeneration)

    def __init__(
        self,
        encoder: str,
        model: Literal["mistral3", "qwen3"],
        layers: Sequence[int],
        system: str | None = None,
        parts: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
        template: Mapping[str, Any] | None = None,
        unsaid: Sequence[str] = (),
    ) -> None:
        super().__init__(encoder, layers)
        check_choice("model", model, _CLASSES)
        if not layers:
            raise ConfigError("layers is empty: name at least one layer, such as [10, 20, 30].")
        self.system = system
        self.parts = bool(parts)
        self.template = dict(template or {})
        self.unsaid = tuple(unsaid)
        self.move_slot("text_encoder", cls=_CLASSES[model])

    def tokenized(self, texts: list[str], tokens: int) -> Mapping[str, Tensor]:
        """Makes tokens of chats.

        Args:
            texts: The prompts.
            tokens: How many of each, with all that its chat says beside it.
        """
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
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def _chat(self, text: str) -> list[dict[str, Any]]:
        """Gives the messages of a chat."""
        for each in self.unsaid:
            text = text.replace(each, "")
        messages = [] if self.system is None else [("system", self.system)]
        return [
            {"role": role, "content": [{"type": "text", "text": said}] if self.parts else said}
            for role, said in (*messages, ("user", text))
        ]

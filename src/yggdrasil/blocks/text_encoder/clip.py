"""One of several CLIP text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from yggdrasil.blocks.batching import repeat_each
from yggdrasil.blocks.checks import check_choice, check_count
from yggdrasil.blocks.clip_tokens import pad_tokens, spell_out, tokenize
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.lora_scale import lora_scaled, without_scale
from yggdrasil.blocks.text_encoder.prompts import check_prompts, negative_texts, own_texts
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import ModelArguments, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractTextEncoder
from yggdrasil.core.values import Conditioning, TextStates, TextStatesValue

__all__ = ["CLIPTextEncoder"]

_POOLED = ("none", "pooler", "projected")


@register_block("text_encoder/clip")
class CLIPTextEncoder(AbstractTextEncoder):
    """CLIP's text encoder as one of several: hidden states, and one vector for the whole text.

    Args:
        encoder: What the encoder is called by the block that joins the states.
        number: Which of the model's encoders it is; the second is in ``text_encoder_2``.
        pooled: Which vector to give: that of the end of the text (``pooler``), the same
            ``projected`` into the space of pictures, which the model must have been saved with, or
            none.
        layer: Which hidden states to give, counted from the last, before the final norm: 2 is the
            last but one.
        fixed_length: Whether negative prompts have as many tokens as the tokenizer says, and not as
            many as the joined positive conditioning, where more than this encoder's are joined.

    Source:
        Podell et al. 2023 (arXiv:2307.01952), section 2.1; ``encode_prompt`` of Diffusers'
        ``StableDiffusionXLPipeline``, ``StableDiffusion3Pipeline`` and ``FluxPipeline``.
    """

    tokenizer = Component(CLIPTokenizer, optional=True)
    text_encoder = Component[Any](CLIPTextModel, optional=True)

    def __init__(
        self,
        encoder: str,
        number: int = 1,
        pooled: Literal["none", "pooler", "projected"] = "none",
        layer: int = 2,
        fixed_length: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
    ) -> None:
        check_choice("pooled", pooled, _POOLED)
        check_count("number", number)
        check_count("layer", layer)
        self.encoder = encoder
        self.pooled = pooled
        self.layer = layer
        self.fixed_length = bool(fixed_length)
        suffix = "" if number == 1 else f"_{number}"
        cls = CLIPTextModelWithProjection if pooled == "projected" else CLIPTextModel
        self.move_slot("tokenizer", folder=f"tokenizer{suffix}")
        self.move_slot("text_encoder", folder=f"text_encoder{suffix}", cls=cls)

    @op
    def encode(
        self,
        prompt: Prompts,
        own_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        clip_skip: int | None = None,
        model_arguments: ModelArguments | None = None,
    ) -> TextStates:
        """Encodes what the picture is to be like.

        Args:
            prompt: One text, or one for each picture, for all encoders.
            own_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for; they follow one another.
            clip_skip: How many further layers to leave out.
            model_arguments: Of the backbone, which may scale LoRAs.

        Raises:
            InputError: There is no prompt, or not as many of its own as for all.
        """
        ids, _ = tokenize(self.tokenizer, own_texts("prompt", prompt, own_prompt))
        with lora_scaled(self.text_encoder, model_arguments):
            return self._states(ids, num_images_per_prompt, clip_skip or 0)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        negative_prompt: Prompts = "",
        own_negative_prompt: Prompts | None = None,
        num_images_per_prompt: int = 1,
        model_arguments: ModelArguments | None = None,
    ) -> TextStates:
        """Encodes what the picture is to be unlike.

        Args:
            positive: Gives the batch, and the number of tokens unless that is fixed.
            negative_prompt: One text for all, or one for each prompt, for all encoders.
            own_negative_prompt: For this encoder, in its place.
            num_images_per_prompt: How many samples each prompt is for.
            model_arguments: Of the backbone, which may scale LoRAs.

        Raises:
            InputError: There are not as many negative prompts as prompts.
        """
        texts = negative_texts(
            negative_prompt, own_negative_prompt, positive.batch // num_images_per_prompt
        )
        tokens = positive.tensors["encoder_hidden_states"].shape[1]
        if self.fixed_length:
            tokens = self.tokenizer.model_max_length
        padded = pad_tokens(self.tokenizer, spell_out(self.tokenizer, texts), tokens)
        # Diffusers skips layers for the positive prompt only.
        with lora_scaled(self.text_encoder, model_arguments):
            return self._states(padded["input_ids"], num_images_per_prompt, 0)

    @op
    def hand_on(self, prompt: Prompts) -> Prompts:
        """Hands the next encoder a prompt of its own, which is read where this one is there too.

        Args:
            prompt: For the next encoder.
        """
        return prompt

    @op
    def hand_on_negative(self, negative_prompt: Prompts) -> Prompts:
        """Hands the next encoder a negative prompt of its own.

        Args:
            negative_prompt: For the next encoder.
        """
        return negative_prompt

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that arguments for the backbone are not read, unless they scale LoRAs.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del op
        return without_scale(known)

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
        check_prompts(known, self.config["number"])
        skip = known.get("clip_skip")
        if skip is not None:
            check_count("clip_skip", skip, least=0)
            layers = self.component_config("text_encoder").get("num_hidden_layers")
            if layers is not None and skip + self.layer > layers + 1:
                raise InputError(
                    f"clip_skip is {skip}, but text encoder {self.encoder!r} has {layers} layers, "
                    f"of which the last {self.layer - 1} is left out already: give at most "
                    f"clip_skip={layers + 1 - self.layer}."
                )

    def _states(self, ids: Tensor, copies: int, skip: int) -> TextStatesValue:
        """Runs the encoder on ids ``b tokens``."""
        encoder = self.text_encoder
        output = encoder(ids.to(computing_device(encoder)), output_hidden_states=True)
        states = output.hidden_states[-(skip + self.layer)].to(encoder.dtype)
        pooled = None
        if self.pooled != "none":
            vector = output[0] if self.pooled == "projected" else output.pooler_output
            pooled = repeat_each(vector.to(encoder.dtype), copies)
        return TextStatesValue(
            encoder=self.encoder, states=repeat_each(states, copies), pooled=pooled
        )

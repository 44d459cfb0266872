"""Prompts as CLIP understands them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.clip_tokens import as_texts, pad_tokens, spell_out, tokenize
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.lora_scale import lora_scaled, without_scale
from yggdrasil.blocks.text_encoder.prompts import check_prompts, negative_texts
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import ModelArguments, PromptEmbeds, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import Conditioning, ConditioningValue

__all__ = ["CLIPTextConditioner"]


@register_block("conditioner/clip_text")
class CLIPTextConditioner(AbstractConditioner):
    """One CLIP text encoder, as Stable Diffusion 1 and 2 use it.

    The conditioning holds ``encoder_hidden_states``, ``b tokens width``.

    Source:
        Radford et al. 2021 (arXiv:2103.00020); the use of its hidden states: Rombach et al. 2022
        (arXiv:2112.10752). Numbers follow ``encode_prompt`` of Diffusers'
        ``StableDiffusionPipeline``.
    """

    tokenizer = Component(CLIPTokenizer)
    text_encoder = Component(CLIPTextModel)

    @op
    def encode(
        self,
        prompt: Prompts,
        num_images_per_prompt: int = 1,
        clip_skip: int | None = None,
        model_arguments: ModelArguments | None = None,
    ) -> Conditioning:
        """Encodes what the picture is to be like.

        Args:
            prompt: One text, or one for each picture.
            num_images_per_prompt: How many samples each prompt is for; they follow one another.
            clip_skip: How many of the encoder's last layers to leave out.
            model_arguments: Of the backbone, which may scale LoRAs.

        Raises:
            InputError: There is no prompt.
        """
        ids, mask = tokenize(self.tokenizer, as_texts("prompt", prompt))
        with lora_scaled(self.text_encoder, model_arguments):
            return _conditioning(self._embed(ids, mask, clip_skip), num_images_per_prompt)

    @op
    def encode_negative(
        self,
        positive: Conditioning,
        negative_prompt: Prompts = "",
        num_images_per_prompt: int = 1,
        model_arguments: ModelArguments | None = None,
    ) -> Conditioning:
        """Encodes what the picture is to be unlike, to the shape of the positive conditioning.

        Args:
            positive: Gives batch and number of tokens.
            negative_prompt: One text for all, or one for each prompt.
            num_images_per_prompt: How many samples each prompt is for.
            model_arguments: Of the backbone, which may scale LoRAs.

        Raises:
            InputError: There are not as many negative prompts as prompts.
        """
        prompts, rest = divmod(positive.batch, num_images_per_prompt)
        if rest:
            raise InputError(
                f"num_images_per_prompt is {num_images_per_prompt}, which does not divide the "
                f"positive conditioning's batch of {positive.batch}: give both the same."
            )
        texts = negative_texts(negative_prompt, None, prompts)
        tokens = positive.tensors["encoder_hidden_states"].shape[1]
        inputs = pad_tokens(self.tokenizer, spell_out(self.tokenizer, texts), tokens)
        # Diffusers skips layers for the positive prompt only.
        with lora_scaled(self.text_encoder, model_arguments):
            embeds = self._embed(inputs["input_ids"], inputs["attention_mask"], None)
        return _conditioning(embeds, num_images_per_prompt)

    @op
    def adopt(self, prompt_embeds: PromptEmbeds, num_images_per_prompt: int = 1) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a prompt.

        Args:
            prompt_embeds: ``b tokens width``.
            num_images_per_prompt: How many samples each is for.
        """
        return _conditioning(self._cast(prompt_embeds), num_images_per_prompt)

    @op
    def adopt_negative(
        self, negative_prompt_embeds: PromptEmbeds, num_images_per_prompt: int = 1
    ) -> Conditioning:
        """Takes embeddings that the caller computed, in the place of a negative prompt.

        Args:
            negative_prompt_embeds: ``b tokens width``.
            num_images_per_prompt: How many samples each is for.
        """
        return _conditioning(self._cast(negative_prompt_embeds), num_images_per_prompt)

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that arguments for the backbone are not read, unless they scale LoRAs.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del op
        return without_scale(known)

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses counts that cannot be, and prompts that are none.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        del op
        check_prompts(known)
        skip = known.get("clip_skip")
        if skip is not None:
            check_count("clip_skip", skip, least=0)
            layers = self.component_config("text_encoder").get("num_hidden_layers", skip)
            if skip > layers:
                raise InputError(
                    f"clip_skip is {skip}, but the text encoder has {layers} layers: give at most "
                    f"clip_skip={layers}."
                )

    def _embed(self, ids: Tensor, mask: Tensor, clip_skip: int | None) -> Tensor:
        """Runs the encoder: ids ``b tokens`` to hidden states ``b tokens width``."""
        encoder = self.text_encoder
        # Only Stable Diffusion 2's relatives set this; without it CLIP reads the padding too.
        masks = getattr(encoder.config, "use_attention_mask", False)
        device = computing_device(encoder)
        attention_mask = mask.to(device) if masks else None
        output = encoder(
            ids.to(device),
            attention_mask=attention_mask,
            output_hidden_states=clip_skip is not None,
        )
        if clip_skip is None:
            states = output[0]
        else:
            # transformers 5 has the norm on the model itself; before, it was one level below.
            # Diffusers 0.42 still looks there and fails (issue 14124).
            model = getattr(encoder, "text_model", encoder)
            states = model.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
        embeds: Tensor = states.to(encoder.dtype)
        return embeds

    def _cast(self, embeds: Tensor) -> Tensor:
        """Gives embeddings the encoder's device and dtype, without loading it for that."""
        encoder = self._modules.get("text_encoder")
        if encoder is not None:
            return embeds.to(device=computing_device(encoder), dtype=self.text_encoder.dtype)
        if self.placement is None:
            return embeds
        device, dtype = self.placement
        return embeds.to(
            device=embeds.device if device is None else device,
            dtype=embeds.dtype if dtype is None else dtype,
        )


def _conditioning(embeds: Tensor, copies: int) -> ConditioningValue:
    """Repeats each sample's embeddings, the copies of one following one another."""
    batch, tokens, _ = embeds.shape
    repeated = embeds.repeat(1, copies, 1).view(batch * copies, tokens, -1)
    return ConditioningValue(tensors={"encoder_hidden_states": repeated}, batch=batch * copies)

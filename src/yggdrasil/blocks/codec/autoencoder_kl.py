"""The autoencoder of latent diffusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from yggdrasil.blocks.batching import as_generators, concatenate_to, repeat_to
from yggdrasil.blocks.codec.coder import Coder
from yggdrasil.blocks.codec.posterior import Posterior, PosteriorValue
from yggdrasil.blocks.codec.setting import alone_with, in_float32, switched
from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.configuration import with_defaults
from yggdrasil.blocks.processor.kinds import LatentSet, PictureSet
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Generator, Image, Latents, Precision
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractCodec
from yggdrasil.core.values import CodecSpecValue

__all__ = ["AutoencoderKLCodec"]


@register_block("codec/autoencoder_kl")
class AutoencoderKLCodec(AbstractCodec):
    """Autoencoder with a Kullback-Leibler bottleneck.

    Args:
        upcasts: Whether a model whose configuration says ``force_upcast`` computes in float32, as
            the pipelines of Stable Diffusion XL have it and others do not: it encodes so whatever
            its dtype, and decodes so in float16, in which it would overflow. ``float16`` has it
            encode so in that dtype alone, as the pipeline of InstructPix2Pix for it does.
        tiling: Whether large pictures are coded in tiles that overlap, in less memory; as the model
            is set unless given.
        slicing: Whether the pictures of a batch are coded one by one, in less memory; as the model
            is set unless given.

    Raises:
        ConfigError: There is no such way to upcast.

    Source:
        Rombach et al. 2022 (arXiv:2112.10752), section 3.1; Diffusers' ``AutoencoderKL``.
    """

    vae = Component[Any](AutoencoderKL)

    def __init__(
        self,
        *,
        upcasts: bool | Literal["float16"] = False,
        tiling: bool | None = None,
        slicing: bool | None = None,
    ) -> None:
        if upcasts not in (False, True, "float16"):
            raise ConfigError(
                f"{self.type_name}: upcasts is {upcasts!r}: give true, false or 'float16'."
            )
        self.upcasts = upcasts
        self.tiling = tiling
        self.slicing = slicing

    def describe_latents(self) -> CodecSpecValue:
        """Gives channels and scale; each level of the encoder but the last halves the picture."""
        config = with_defaults(AutoencoderKL, self.component_config("vae"))
        return CodecSpecValue(
            channels=config["latent_channels"], scale=2 ** (len(config["block_out_channels"]) - 1)
        )

    @op
    def encode(
        self,
        image: Image,
        one_by_one: bool = False,  # noqa: FBT001, FBT002 - a port
        precision: Precision | None = None,
    ) -> Posterior:
        """Encodes pictures.

        Args:
            image: ``b c H W`` in [-1, 1]; or latents ``b c h w``, known by their channels, which
                are passed on as they are.
            one_by_one: Encode each picture alone, as Diffusers does for a list of generators.
            precision: That of the backbone, to which pictures and latents are rounded around a VAE
                that computes in float32; that of the VAE unless given.

        Raises:
            InputError: The picture has neither the channels of pictures nor those of latents.
        """
        vae = self.vae
        with self._set():
            dtype = vae.dtype
            overflows = dtype == torch.float16 or self.upcasts is True
            upcast = bool(self.upcasts) and bool(vae.config.force_upcast) and overflows
            if upcast and precision is not None:
                dtype = precision
            picture = image.to(device=computing_device(vae), dtype=dtype)
            channels, reads = picture.shape[1], vae.config.in_channels
            latents = self.describe_latents().channels
            if channels == latents and channels != reads:
                return PosteriorValue(parameters=self.given(picture), certain=True)
            if channels != reads:
                raise InputError(
                    f"The image has {channels} channels; the VAE reads {reads}, or latents of "
                    f"{latents}. Convert the picture, for instance to RGB."
                )
            picture = picture.float() if upcast else picture
            # A batch's convolutions run in other kernels than a single picture's, and the last bits
            # differ: by 2e-6 at most on a CPU in float32 (torch 2.13, batches of 2 and 3).
            parts = [picture[i : i + 1] for i in range(len(picture))] if one_by_one else [picture]
            with in_float32(vae) if upcast else nullcontext():
                parameters = [vae.encode(part, return_dict=False)[0].parameters for part in parts]
        return PosteriorValue(
            parameters=torch.cat(parameters) if len(parameters) > 1 else parameters[0],
            dtype=dtype if upcast else None,
        )

    @op
    def sample(
        self,
        posterior: Posterior,
        generator: Generator | None = None,
        batch: int | None = None,
        duplicate: Literal["posterior", "latents"] = "posterior",
        likeliest: bool = False,  # noqa: FBT001, FBT002 - a port
    ) -> Latents:
        """Draws latents and scales them as the backbone expects them.

        Args:
            posterior: Of the pictures.
            generator: One, or one for each sample of the batch.
            batch: How many latents are wanted, a multiple of the pictures; None for one each.
            duplicate: What is repeated to make the batch when there is a generator for each
                sample. ``posterior``: every sample has a draw of its own (image to image).
                ``latents``: each picture is drawn once, with the first generators (inpainting).
                A single generator always draws once for each picture.
            likeliest: Draw nothing and take the likeliest latents.

        Returns:
            ``b c h w``.

        Raises:
            InputError: The batch is no multiple of the pictures, or of the generators there are
                not as many as samples.
        """
        wanted = posterior.batch if batch is None else batch
        generators = as_generators(generator, wanted)
        if isinstance(generators, list):
            if duplicate == "posterior":
                posterior = posterior.repeat(wanted)
            else:
                generators = generators[: posterior.batch]
        latents = posterior.mode() if likeliest else posterior.draw(generators)
        if not posterior.certain:
            latents = self.scaled(latents)
        if duplicate == "posterior":
            return concatenate_to(latents, wanted, "pictures")
        # Inpainting repeats even once, which leaves the latents contiguous.
        return repeat_to(latents, wanted, "pictures").contiguous()

    @op
    def mode(
        self,
        posterior: Posterior,
        batch: int | None = None,
        scaled: bool = True,  # noqa: FBT001, FBT002 - a port
        given_raw: bool = False,  # noqa: FBT001, FBT002 - a port
    ) -> Latents:
        """Gives the likeliest latents, without a draw.

        Args:
            posterior: Of the pictures.
            batch: How many latents are wanted, a multiple of the pictures; None for one each.
            scaled: Scale them as the backbone expects its own; else they are the encoder's.
            given_raw: Whether latents that a caller gave are the encoder's too, to be scaled as
                those of pictures are.

        Returns:
            ``b c h w``.

        Raises:
            InputError: The batch is no multiple of the pictures.
        """
        latents = posterior.mode()
        if scaled and (given_raw or not posterior.certain):
            latents = self.scaled(latents)
        wanted = posterior.batch if batch is None else batch
        return concatenate_to(latents, wanted, "pictures")

    @op
    def modes(
        self,
        pictures: PictureSet,
        batch: int | None = None,
        one_by_one: bool = False,  # noqa: FBT001, FBT002 - a port
    ) -> LatentSet:
        """Encodes pictures of several sizes, each by itself, to their likeliest latents.

        Args:
            pictures: Each ``n c H W`` in [-1, 1].
            batch: How many latents of each are wanted, a multiple of ``n``; None for ``n``.
            one_by_one: As for ``encode``.

        Returns:
            For each ``b c h w``, scaled as the backbone expects them.

        Raises:
            InputError: A picture has not the channels that the codec reads, or the batch is no
                multiple of the pictures.
        """
        return tuple(self.mode(self.encode(each, one_by_one), batch) for each in pictures)

    @op
    def scale(self, raw_latents: Latents, shift_latents: bool = True) -> Latents:  # noqa: FBT001, FBT002 - a port
        """Scales latents that are as the encoder gives them, where a caller encoded.

        Args:
            raw_latents: ``b c h w``, not scaled.
            shift_latents: Whether they are shifted too, where the codec shifts.

        Returns:
            ``b c h w``, as the backbone expects them.
        """
        return self.scaled(raw_latents, shifted=shift_latents)

    @op
    def itself(self) -> Coder:
        """Gives the codec, for blocks that encode pictures of their own."""
        return self

    @op
    def decode(self, latents: Latents, shifted: bool = True) -> Image:  # noqa: FBT001, FBT002 - a port
        """Decodes latents.

        Args:
            latents: ``b c h w``, scaled as the backbone gives them.
            shifted: Whether a shift that the codec has is undone. Diffusers forgets it for
                Stable Diffusion 3's inpainting, whose pictures come out otherwise by it.

        Returns:
            ``b 3 H W``, around [-1, 1] but not cut to it.
        """
        vae = self.vae
        with self._set():
            dtype = vae.dtype
            overflows = dtype == torch.float16
            upcast = bool(self.upcasts) and bool(vae.config.force_upcast) and overflows
            device = computing_device(vae)
            scaled = latents.to(device=device, dtype=torch.float32 if upcast else dtype)
            raw = self.unscaled(scaled, shifted=shifted)
            with in_float32(vae) if upcast else nullcontext():
                image: Tensor = vae.decode(raw, return_dict=False)[0]
        return image

    @contextmanager
    def _set(self) -> Iterator[None]:
        """Has the model set as the block is, for the length of a call."""
        if not self.upcasts and self.tiling is self.slicing is None:
            yield
            return
        vae = self.vae
        switches = {"use_tiling": self.tiling, "use_slicing": self.slicing}
        with alone_with(vae), switched(vae, **switches):
            yield

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that no generator is read where nothing is drawn, and no precision but of upcasts.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        if op == "encode":
            rounds = self.upcasts is True and self.component_config("vae").get("force_upcast", True)
            return frozenset(() if rounds else {"precision"})
        draws = op != "sample" or not known.get("likeliest")
        return frozenset() if draws else frozenset({"generator"})

    def scaled(self, raw: Tensor, *, shifted: bool = True) -> Tensor:
        """Brings the encoder's latents to the mean and deviation that the backbone was trained on.

        Args:
            raw: ``b c h w``.
            shifted: Whether a shift that the codec has is made too.
        """
        config = self.vae.config
        if shifted and config.shift_factor is not None:
            raw = raw - config.shift_factor
        if config.latents_mean is not None and config.latents_std is not None:
            mean = _per_channel(config.latents_mean, raw)
            std = _per_channel(config.latents_std, raw)
            normed: Tensor = (raw - mean) * config.scaling_factor / std
            return normed
        scaled: Tensor = config.scaling_factor * raw
        return scaled

    def unscaled(self, latents: Tensor, *, shifted: bool) -> Tensor:
        """Undoes ``scaled``.

        Args:
            latents: ``b c h w``.
            shifted: Whether a shift that the codec has is undone too.
        """
        config = self.vae.config
        if config.latents_mean is not None and config.latents_std is not None:
            raw: Tensor = latents * _per_channel(config.latents_std, latents)
            raw = raw / config.scaling_factor
            raw = raw + _per_channel(config.latents_mean, raw)
        else:
            raw = latents / config.scaling_factor
        if shifted and config.shift_factor is not None:
            raw = raw + config.shift_factor
        return raw

    def given(self, latents: Tensor) -> Tensor:
        """Takes latents that a caller gives in the place of a picture: these are scaled already.

        Args:
            latents: ``b c h w``.
        """
        return latents


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """Gives a number for each channel, ``1 c 1 1``."""
    return torch.tensor(values).view(1, -1, 1, 1).to(like.device, like.dtype)

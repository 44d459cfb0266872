"""Stable Diffusion from blocks called one after the other, with no graph between them."""

from __future__ import annotations

from typing import Any

import torch

from yggdrasil.blocks.solver.catalog import solver_type_for
from yggdrasil.core.registry import make_block


class Parts:
    """The blocks of Stable Diffusion over a Diffusers pipeline's components."""

    def __init__(self, pipeline: Any) -> None:
        self.text = make_block("conditioner/clip_text").give(
            tokenizer=pipeline.tokenizer, text_encoder=pipeline.text_encoder
        )
        self.unet = make_block("backbone/unet2d_condition").give(unet=pipeline.unet)
        self.vae = make_block("codec/autoencoder_kl").give(vae=pipeline.vae)
        self.cfg = make_block("guidance/cfg")
        self.embedding = make_block("conditioner/guidance_embedding")
        self.solver = make_block(solver_type_for(type(pipeline.scheduler).__name__)).give(
            scheduler=pipeline.scheduler
        )
        self.source = make_block("source/gaussian")
        self.layout = make_block("layout/image")
        self.pictures = make_block("processor/vae_image")
        self.mask = make_block("processor/inpaint_mask")
        self.blend = make_block("processor/inpaint_blend")
        self.channels = make_block("processor/inpaint_channels")

    def condition(
        self,
        prompt: Any,
        *,
        negative_prompt: Any = "",
        scale: float = 7.5,
        copies: int = 1,
        clip_skip: int | None = None,
    ) -> tuple[Any, Any]:
        """Gives the positive conditioning and the branches."""
        spec = self.unet.spec()
        positive = self.text.encode(prompt, copies, clip_skip)
        negative = None
        known = {"guidance_scale": scale, "backbone": spec}
        if "negative" not in self.cfg.unused_inputs("branches", known):
            negative = self.text.encode_negative(positive, negative_prompt, copies)
        extras = self.embedding.embed(positive, spec, scale)
        branches = self.cfg.branches(positive, negative, scale, spec)
        return positive, self.unet.prepare(branches, (extras,))

    @torch.no_grad()
    def loop(
        self,
        state: Any,
        branches: Any,
        *,
        scale: float = 7.5,
        rescale: float = 0.0,
        generator: Any = None,
        eta: float = 0.0,
        channels: Any = None,
        known: Any = None,
        noise: Any = None,
        mask: Any = None,
    ) -> torch.Tensor:
        """Runs the loop; with ``known`` latents, noise and mask they are blended in."""
        while not self.solver.done(state):
            tick = self.solver.tick(state)
            sample = self.cfg.expand(tick.sample, branches)
            output = self.unet.predict(sample, tick.timestep, branches, channels)
            output = self.cfg.combine(output, scale, rescale)
            state = self.solver.step(tick.state, output, generator, eta)
            if known is not None:
                noised = self.solver.renoise(state, known, noise)
                state = self.blend.blend(state, noised, mask)
        return self.solver.finish(state)

    @torch.no_grad()
    def picture(self, latents: torch.Tensor, output_type: str = "np") -> Any:
        return self.pictures.postprocess(self.vae.decode(latents), output_type)

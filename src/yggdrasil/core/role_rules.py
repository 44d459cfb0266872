"""How the roles of a diffusion graph find each other. Adding a rule is adding a line."""

from __future__ import annotations

from yggdrasil.core.rules import PatchRule, Rule, Splice

__all__ = ["DRAWS", "PATCHES", "ROLE_RULES", "SPLICES"]

ROLE_RULES: tuple[Rule, ...] = (
    # What the picture is to be like.
    Rule("text_encoder_2.encode.own_prompt", ("$prompt_2",)),
    Rule("text_encoder_3.encode.own_prompt", ("$prompt_3",)),
    Rule("text_encoder_2.encode_negative.own_negative_prompt", ("$negative_prompt_2",)),
    Rule("text_encoder_3.encode_negative.own_negative_prompt", ("$negative_prompt_3",)),
    Rule("text_encoder.encode_negative.positive", ("conditioner.adopt", "conditioner.encode")),
    Rule("text_encoder_2.encode_negative.positive", ("conditioner.adopt", "conditioner.encode")),
    Rule("text_encoder_3.encode_negative.positive", ("conditioner.adopt", "conditioner.encode")),
    Rule(
        "conditioner.encode.parts",
        ("text_encoder.encode", "text_encoder_2.encode", "text_encoder_3.encode"),
    ),
    Rule(
        "conditioner.encode_negative.parts",
        (
            "text_encoder.encode_negative",
            "text_encoder_2.encode_negative",
            "text_encoder_3.encode_negative",
        ),
    ),
    Rule("conditioner.encode_negative.positive", ("self.adopt", "self.encode")),
    Rule("conditioner/joined_text.encode.backbone", ("backbone.spec",)),
    Rule("conditioner/joined_text.encode_negative.backbone", ("backbone.spec",)),
    Rule("conditioner.embed.conditioning", ("conditioner.adopt", "conditioner.encode")),
    Rule("conditioner.embed.backbone", ("backbone.spec",)),
    Rule("conditioner.embed.shape", ("layout.shape",), mode="denoise"),
    Rule("conditioner.embed.shape", ("layout.match",), mode="corrupt"),
    Rule("conditioner.embed.codec", ("codec.spec",)),
    Rule(
        "guidance.branches.positive",
        ("conditioner.adopt", "conditioner.encode"),
    ),
    Rule(
        "guidance.branches.negative", ("conditioner.adopt_negative", "conditioner.encode_negative")
    ),
    Rule("guidance.branches.backbone", ("backbone.spec",)),
    Rule("guidance/true_cfg.branches.adopted", ("conditioner.adopt_negative",)),
    # Pictures in.
    Rule("processor/vae_image.preprocess.pictures", ("$init_image",)),
    Rule("processor/vae_image.preprocess.codec", ("codec.spec",)),
    Rule(
        "processor/vae_image.preprocess.height",
        ("layout.size.height", "processor/inpaint_mask.size.height", "$height"),
    ),
    Rule(
        "processor/vae_image.preprocess.width",
        ("layout.size.width", "processor/inpaint_mask.size.width", "$width"),
    ),
    Rule("processor/vae_image.preprocess.crop", ("processor/inpaint_mask.region",)),
    Rule("codec.encode.image", ("processor/vae_image.preprocess", "$pixels")),
    Rule("codec.sample.posterior", ("self.encode",)),
    Rule("codec.sample.batch", ("layout.batch",)),
    # Pictures that the model reads beside the one that it makes.
    Rule("processor/reference_image.preprocess.pictures", ("$reference_image",)),
    Rule("processor/reference_image.preprocess.codec", ("codec.spec",)),
    Rule("processor/reference_image.preprocess.backbone", ("backbone.spec",)),
    Rule("reference_codec.encode.image", ("processor/reference_image.preprocess",)),
    Rule("reference_codec.mode.posterior", ("self.encode",)),
    Rule("reference_codec.mode.batch", ("layout.batch",)),
    Rule("layout.positions.reference", ("reference_codec.mode",)),
    Rule("processor/control_image.preprocess.pictures", ("$control_image",)),
    Rule("processor/control_image.preprocess.codec", ("codec.spec",)),
    Rule("processor/control_image.preprocess.height", ("layout.size.height", "$height")),
    Rule("processor/control_image.preprocess.width", ("layout.size.width", "$width")),
    Rule("processor/control_image.preprocess.batch", ("layout.batch",)),
    Rule("control_codec.encode.image", ("processor/control_image.preprocess",)),
    Rule("control_codec.sample.posterior", ("self.encode",)),
    Rule("layout.pack_control.latents", ("control_codec.sample",)),
    # Masks.
    Rule("processor/inpaint_mask.size.mask_image", ("$mask",)),
    Rule("processor/inpaint_mask.size.codec", ("codec.spec",)),
    Rule("processor/inpaint_mask.size.backbone", ("backbone.spec",)),
    Rule("processor/inpaint_mask.region.mask_image", ("$mask",)),
    Rule("processor/inpaint_mask.region.codec", ("codec.spec",)),
    Rule("processor/inpaint_mask.region.backbone", ("backbone.spec",)),
    Rule("processor/inpaint_mask.preprocess.mask_image", ("$mask",)),
    Rule("processor/inpaint_mask.preprocess.codec", ("codec.spec",)),
    Rule("processor/inpaint_mask.preprocess.image", ("processor/vae_image.preprocess",)),
    Rule("processor/inpaint_mask.preprocess.crop", ("self.region",)),
    Rule("processor/inpaint_mask.cover.image", ("processor/vae_image.preprocess",)),
    Rule("processor/inpaint_mask.cover.mask", ("self.preprocess",)),
    Rule("processor/inpaint_mask.resize.mask", ("self.preprocess",)),
    Rule("processor/inpaint_mask.resize.shape", ("layout.shape",)),
    Rule("masked_codec.encode.image", ("processor/inpaint_mask.cover",)),
    Rule("masked_codec.sample.posterior", ("self.encode",)),
    Rule("masked_codec.encode.one_by_one", ("$masked_one_by_one", "$one_by_one")),
    Rule("masked_codec.sample.batch", ("layout.batch",)),
    Rule("masked_codec.scale.raw_latents", ("$raw_masked_latents",)),
    Rule("processor/inpaint_channels.join.mask", ("processor/inpaint_mask.resize",)),
    Rule(
        "processor/inpaint_channels.join.masked_latents",
        ("$masked_image_latents", "masked_codec.scale", "masked_codec.sample"),
    ),
    Rule("processor/inpaint_blend.blend.known", ("solver.renoise",)),
    Rule(
        "processor/inpaint_blend.blend.mask", ("layout.pack_mask", "processor/inpaint_mask.resize")
    ),
    # Not read there: Diffusers draws the masked picture's latents with 4 channels too, and so a
    # stochastic solver goes on with the numbers after that draw.
    Rule("processor/inpaint_blend.blend.channels", ("processor/inpaint_channels.join",)),
    Rule("processor/inpaint_blend.blend.backbone", ("backbone.spec",)),
    Rule("processor/inpaint_blend.blend.codec", ("codec.spec",)),
    Rule("processor/fill_channels.join.mask", ("processor/inpaint_mask.preprocess",)),
    Rule("processor/fill_channels.join.masked_latents", ("masked_codec.sample",)),
    Rule("processor/fill_channels.join.codec", ("codec.spec",)),
    Rule(
        "backbone.predict.channels",
        (
            "$channels",
            "layout.pack_control",
            "layout.pack_channels",
            "processor/inpaint_channels.join",
        ),
    ),
    # Shapes and noise.
    Rule("layout.shape.conditioning", ("conditioner.adopt", "conditioner.encode")),
    Rule("layout.batch.conditioning", ("conditioner.adopt", "conditioner.encode")),
    Rule("layout.shape.codec", ("codec.spec",)),
    Rule("layout.shape.backbone", ("backbone.spec",)),
    Rule("layout.shape.image", ("processor/vae_image.preprocess",)),
    Rule("layout.shape.height", ("self.size.height", "$height")),
    Rule("layout.shape.width", ("self.size.width", "$width")),
    Rule("layout.size.codec", ("codec.spec",)),
    Rule("layout.size.backbone", ("backbone.spec",)),
    Rule("layout.tokens.noise", ("$latents", "source.sample")),
    Rule("layout.tokens.backbone", ("backbone.spec",)),
    Rule("layout.match.latents", ("codec.sample",)),
    Rule("layout.tokens.shape", ("self.shape",)),
    Rule("layout.positions.shape", ("self.shape",), mode="denoise"),
    Rule("layout.positions.shape", ("self.match",), mode="corrupt"),
    Rule("layout.positions.conditioning", ("conditioner.adopt", "conditioner.encode")),
    Rule("layout.pack_noise.noise", ("$start_noise", "source.sample")),
    Rule("layout.pack_start.noise", ("$start_noise",)),
    Rule("layout.pack.latents", ("codec.sample",)),
    Rule("layout.pack_mask.mask", ("processor/inpaint_mask.resize",)),
    Rule("layout.pack_mask.codec", ("codec.spec",)),
    Rule("layout.pack_channels.channels", ("processor/fill_channels.join",)),
    Rule("layout.unpack.latents", ("solver.finish",)),
    Rule("layout.unpack.shape", ("self.shape",)),
    Rule("source.sample.shape", ("layout.shape",), mode="denoise"),
    Rule("source.sample.shape", ("layout.match",), mode="corrupt"),
    # The loop.
    Rule(
        "solver.start.noise",
        ("$latents", "layout.pack_noise", "source.sample"),
    ),
    Rule("solver.start.init_latents", ("$init_latents", "layout.pack", "codec.sample")),
    Rule("solver.resume.init_latents", ("$init_latents", "layout.pack", "codec.sample")),
    Rule("solver.resume.begin", ("$denoising_start",)),
    Rule("solver.resume.end", ("$denoising_end",)),
    Rule("solver.start.given", ("layout.pack_start",)),
    Rule("solver.start.tokens", ("layout.tokens",)),
    Rule("solver.start.end", ("$denoising_end",)),
    Rule(
        "solver.tick.state",
        ("self.resume", "self.start"),
        carried="self.step+splices",
        until="done",
    ),
    Rule("guidance.expand.sample", ("solver.tick.sample",)),
    Rule("guidance.expand.branches", ("guidance.branches",)),
    Rule("guidance.expand.index", ("solver.tick.index",)),
    Rule("guidance.expand.count", ("solver.tick.count",)),
    Rule("backbone.predict.sample", ("guidance.expand", "solver.tick.sample"), mode="denoise"),
    Rule("backbone.predict.timestep", ("solver.tick.timestep",), mode="denoise"),
    Rule(
        "backbone.prepare.conditioning",
        ("guidance.branches", "conditioner.adopt", "conditioner.encode"),
        mode="denoise",
    ),
    Rule("backbone.prepare.extras", ("conditioner.*.extras", "layout.*.extras")),
    Rule("backbone.predict.conditioning", ("self.prepare",)),
    Rule("backbone.predict.residuals", ("inner_module.*.residuals",)),
    Rule("guidance.combine.prediction", ("backbone.predict",)),
    Rule("solver.step.state", ("self.tick.state",)),
    Rule("solver.step.model_output", ("guidance.combine", "backbone.predict")),
    Rule("solver.finish.state", ("self.step+splices",)),
    Rule("solver.renoise.state", ("self.step",)),
    Rule("solver.renoise.init_latents", ("$init_latents", "layout.pack", "codec.sample")),
    Rule("solver.renoise.noise", ("$latents", "layout.pack_noise", "source.sample")),
    # Pictures out.
    Rule("codec.decode.latents", ("layout.unpack", "solver.finish", "self.sample")),
    Rule("outer_module/safety_checker.check.image", ("codec.decode",)),
    Rule(
        "processor/vae_image.postprocess.image",
        ("outer_module/safety_checker.check.image", "codec.decode"),
    ),
    Rule(
        "processor/vae_image.postprocess.flagged",
        ("outer_module/safety_checker.check.flagged",),
    ),
    Rule("processor/vae_image.postprocess.original", ("$init_image",)),
    Rule("processor/vae_image.postprocess.mask_image", ("$mask",)),
    Rule("processor/vae_image.postprocess.crop", ("processor/inpaint_mask.region",)),
    # Training: the same nodes, wired to corrupt and to compare.
    Rule("timesteps.sample.latents", ("codec.sample",)),
    Rule("timesteps.sample.solver", ("solver.spec",)),
    Rule("solver.corrupt.latents", ("layout.pack", "codec.sample")),
    Rule("solver.corrupt.noise", ("layout.pack_noise", "source.sample")),
    Rule("solver.corrupt.timestep", ("timesteps.sample",)),
    Rule("solver.target.latents", ("layout.pack", "codec.sample")),
    Rule("solver.target.noise", ("layout.pack_noise", "source.sample")),
    Rule("solver.target.timestep", ("timesteps.sample",)),
    Rule("backbone.predict.sample", ("solver.corrupt",), mode="corrupt"),
    Rule("backbone.predict.timestep", ("timesteps.sample",), mode="corrupt"),
    Rule(
        "backbone.prepare.conditioning",
        ("conditioner.adopt", "conditioner.encode"),
        mode="corrupt",
    ),
    Rule("objective.loss.prediction", ("backbone.predict",)),
    Rule("objective.loss.target", ("solver.target",)),
    Rule("objective.loss.timestep", ("timesteps.sample",)),
    Rule("objective.loss.latents", ("codec.sample",)),
    Rule("objective.loss.reconstruction", ("codec.decode",)),
    Rule("objective.loss.image", ("processor/vae_image.preprocess", "$pixels")),
    Rule("objective.loss.posterior", ("codec.encode",)),
)

SPLICES: tuple[Splice, ...] = (Splice(kind="solver_state", after="solver.step"),)

PATCHES: tuple[PatchRule, ...] = (
    PatchRule(
        "adapter/lora",
        (
            "backbone",
            "conditioner/clip_text",
            "text_encoder",
            "text_encoder_2",
            "text_encoder_3",
        ),
    ),
)

DRAWS: tuple[str, ...] = (
    "control_codec.sample",
    "codec.sample",
    "source.sample",
    "timesteps.sample",
    "masked_codec.sample",
    "solver.step",
)
"""The order of random draws where data does not decide it; a loop counts as one."""

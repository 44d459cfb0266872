"""The blocks together give what Diffusers' pipelines give, to the bit."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)

from tests.blocks.by_hand import Parts
from tests.tiny_models import tiny_pipeline

pytestmark = pytest.mark.parity


def seed(number=0):
    return torch.Generator().manual_seed(number)


def picture(size=(72, 64), number=0):
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise)


def mask(size=(64, 64), box=(16, 8, 48, 40)):
    made = PIL.Image.new("L", size, 0)
    made.paste(255, box)
    return made


@pytest.mark.parametrize("kind", ["sd15", "sd2", "lcm"])
@pytest.mark.parametrize("scale", [7.5, 1.0])
def test_text_to_image(kind, scale):
    pipeline = tiny_pipeline(kind)
    parts = Parts(pipeline)
    prompts = ["a photo of a cat", "a dog on the house"]
    expected = pipeline(
        prompts,
        negative_prompt=["ugly", "blurry red"],
        num_images_per_prompt=2,
        num_inference_steps=4,
        guidance_scale=scale,
        guidance_rescale=0.7,
        generator=seed(),
        output_type="np",
    ).images
    generator = seed()
    with torch.no_grad():
        positive, branches = parts.condition(
            prompts, negative_prompt=["ugly", "blurry red"], scale=scale, copies=2
        )
        shape = parts.layout.shape(positive, parts.vae.spec(), parts.unet.spec())
        noise = parts.source.sample(shape, generator)
        state = parts.solver.start(noise, num_inference_steps=4)
        latents = parts.loop(state, branches, scale=scale, rescale=0.7, generator=generator)
    assert np.array_equal(parts.picture(latents), expected)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (DDIMScheduler, {"eta": 0.5}),
        (EulerDiscreteScheduler, {}),
        (EulerAncestralDiscreteScheduler, {}),
        (HeunDiscreteScheduler, {}),
        (LCMScheduler, {}),
    ],
)
def test_text_to_image_with_other_solvers_and_a_generator_each(cls, options):
    pipeline = tiny_pipeline()
    pipeline.scheduler = cls.from_config(pipeline.scheduler.config)
    parts = Parts(pipeline)
    expected = pipeline(
        ["a cat", "a dog"],
        num_inference_steps=4,
        height=56,
        width=72,
        generator=[seed(1), seed(2)],
        output_type="pt",
        **options,
    ).images
    generators = [seed(1), seed(2)]
    with torch.no_grad():
        positive, branches = parts.condition(["a cat", "a dog"])
        shape = parts.layout.shape(
            positive, parts.vae.spec(), parts.unet.spec(), height=56, width=72
        )
        noise = parts.source.sample(shape, generators)
        state = parts.solver.start(noise, num_inference_steps=4)
        latents = parts.loop(state, branches, generator=generators, eta=options.get("eta", 0.0))
    assert torch.equal(parts.picture(latents, "pt"), expected)


@pytest.mark.filterwarnings("ignore:You have passed 2 text prompts:FutureWarning")
@pytest.mark.parametrize("cls", [None, HeunDiscreteScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("strength", [0.55, 1.0])
def test_image_to_image(cls, several, strength):
    pipeline = tiny_pipeline("sd15", StableDiffusionImg2ImgPipeline)
    if cls is not None:
        pipeline.scheduler = cls.from_config(pipeline.scheduler.config)
    parts = Parts(pipeline)

    def generator():
        return [seed(3), seed(4)] if several else seed(3)

    expected = pipeline(
        "a photo of a cat",
        image=picture(),
        strength=strength,
        num_inference_steps=6,
        num_images_per_prompt=2,
        generator=generator(),
        output_type="np",
    ).images
    generators = generator()
    with torch.no_grad():
        positive, branches = parts.condition("a photo of a cat", copies=2)
        image = parts.pictures.preprocess(picture(), parts.vae.spec())
        posterior = parts.vae.encode(image, one_by_one=several)
        init = parts.vae.sample(posterior, generators, parts.layout.batch(positive))
        noise = parts.source.sample(parts.layout.match(init), generators)
        state = parts.solver.start(noise, init, num_inference_steps=6, strength=strength)
        latents = parts.loop(state, branches, generator=generators)
    assert np.array_equal(parts.picture(latents), expected)


@pytest.mark.parametrize("cls", [None, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("kind", ["sd15", "sd15_inpaint"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_inpainting(cls, kind, several, strength, copies):
    pipeline = tiny_pipeline(kind, StableDiffusionInpaintPipeline)
    if cls is not None:
        pipeline.scheduler = cls.from_config(pipeline.scheduler.config)
    parts = Parts(pipeline)

    def generator():
        return [seed(3), seed(4)][:copies] if several else seed(3)

    expected = pipeline(
        "a photo of a cat",
        image=picture(),
        mask_image=mask((72, 64)),
        strength=strength,
        num_inference_steps=5,
        num_images_per_prompt=copies,
        generator=generator(),
        output_type="np",
    ).images
    generators = generator()
    codec, backbone = parts.vae.spec(), parts.unet.spec()
    blended = backbone.in_channels == codec.channels
    with torch.no_grad():
        positive, branches = parts.condition("a photo of a cat", copies=copies)
        size = parts.mask.size(mask((72, 64)), codec, backbone)
        image = parts.pictures.preprocess(picture(), codec, size.height, size.width)
        known = {"strength": strength, "full_strength": "noise"}
        init = None
        if blended or "init_latents" not in parts.solver.unused_inputs("start", known):
            posterior = parts.vae.encode(image, one_by_one=several)
            init = parts.vae.sample(posterior, generators, copies, "latents")
        shape = parts.layout.shape(positive, codec, backbone, image)
        noise = parts.source.sample(shape, generators)
        state = parts.solver.start(
            noise, init, num_inference_steps=5, strength=strength, full_strength="noise"
        )
        pixels = parts.mask.preprocess(mask((72, 64)), codec, image)
        masked = parts.vae.encode(parts.mask.cover(image, pixels), one_by_one=several)
        masked_latents = parts.vae.sample(masked, generators, copies, "latents")
        small = parts.mask.resize(pixels, shape)
        if blended:
            latents = parts.loop(
                state, branches, generator=generators, known=init, noise=noise, mask=small
            )
        else:
            channels = parts.channels.join(small, masked_latents)
            latents = parts.loop(state, branches, generator=generators, channels=channels)
    assert np.array_equal(parts.picture(latents), expected)


def test_inpainting_of_a_region():
    pipeline = tiny_pipeline("sd15_inpaint")
    parts = Parts(pipeline)
    whole, painted = picture((160, 120)), mask((160, 120), (30, 40, 60, 55))
    expected = pipeline(
        "a cat",
        image=whole,
        mask_image=painted,
        padding_mask_crop=7,
        strength=1.0,
        num_inference_steps=3,
        generator=seed(5),
    ).images
    generator = seed(5)
    codec, backbone = parts.vae.spec(), parts.unet.spec()
    with torch.no_grad():
        positive, branches = parts.condition("a cat")
        size = parts.mask.size(painted, codec, backbone)
        crop = parts.mask.region(painted, 7, codec, backbone)
        image = parts.pictures.preprocess(whole, codec, size.height, size.width, crop)
        shape = parts.layout.shape(positive, codec, backbone, image)
        noise = parts.source.sample(shape, generator)
        state = parts.solver.start(
            noise, num_inference_steps=3, strength=1.0, full_strength="noise"
        )
        pixels = parts.mask.preprocess(painted, codec, image, crop)
        masked = parts.vae.encode(parts.mask.cover(image, pixels))
        channels = parts.channels.join(
            parts.mask.resize(pixels, shape), parts.vae.sample(masked, generator)
        )
        latents = parts.loop(state, branches, generator=generator, channels=channels)
    with torch.no_grad():
        result = parts.pictures.postprocess(
            parts.vae.decode(latents), original=whole, mask_image=painted, crop=crop
        )
    assert [np.array_equal(a, b) for a, b in zip(result, expected, strict=True)] == [True]

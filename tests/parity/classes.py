"""The pipeline classes of Diffusers that the parity matrix is about, and what became of each.

A class is native, a row of a family, or excused with the reason. To bring one into the matrix, take
it out of ``EXCUSED`` and put a ``Row`` into its family.
"""

from __future__ import annotations

import re

import diffusers
from diffusers import pipelines

__all__ = ["EXCUSED", "LEFT_OUT", "pipeline_classes"]

_NAMES = re.compile("StableDiffusion|StableUnCLIP|Flux|LatentConsistency|SDXL")
_FOLDERS = (
    "stable_diffusion",
    "stable_diffusion_xl",
    "stable_diffusion_3",
    "flux",
    "flux2",
    "latent_consistency_models",
    "controlnet",
    "controlnet_sd3",
)

EXCUSED: dict[str, tuple[str, ...]] = {
    "a modular pipeline: a tree of blocks without a call signature of its own; the pipeline of the "
    "same model is compared": (
        "Flux2KleinBaseModularPipeline",
        "Flux2KleinModularPipeline",
        "Flux2ModularPipeline",
        "FluxKontextModularPipeline",
        "FluxModularPipeline",
        "StableDiffusion3ModularPipeline",
        "StableDiffusionXLModularPipeline",
    ),
    "FLUX.3 is a family of its own, and its pipelines are modular": (
        "Flux3DistilledModularPipeline",
        "Flux3ModularPipeline",
    ),
    "runs ONNX files through onnxruntime: there are no modules to share": (
        "OnnxStableDiffusionImg2ImgPipeline",
        "OnnxStableDiffusionInpaintPipeline",
        "OnnxStableDiffusionInpaintPipelineLegacy",
        "OnnxStableDiffusionPipeline",
        "OnnxStableDiffusionUpscalePipeline",
        "StableDiffusionOnnxPipeline",
    ),
    "Diffusers keeps it among its deprecated pipelines": (
        "SemanticStableDiffusionPipeline",
        "StableDiffusionAttendAndExcitePipeline",
        "StableDiffusionControlNetXSPipeline",
        "StableDiffusionDiffEditPipeline",
        "StableDiffusionGLIGENPipeline",
        "StableDiffusionGLIGENTextImagePipeline",
        "StableDiffusionInpaintPipelineLegacy",
        "StableDiffusionLDM3DPipeline",
        "StableDiffusionModelEditingPipeline",
        "StableDiffusionPanoramaPipeline",
        "StableDiffusionParadigmsPipeline",
        "StableDiffusionPipelineSafe",
        "StableDiffusionPix2PixZeroPipeline",
        "StableDiffusionSAGPipeline",
        "StableDiffusionXLControlNetXSPipeline",
        "TextToVideoZeroSDXLPipeline",
    ),
    "its text encoder reads a picture too (BLIP-2), and Diffusers has deprecated the family": (
        "BlipDiffusionControlNetPipeline",
    ),
    "no native block yet: perturbed-attention guidance": (
        "StableDiffusion3PAGImg2ImgPipeline",
        "StableDiffusion3PAGPipeline",
        "StableDiffusionControlNetPAGInpaintPipeline",
        "StableDiffusionControlNetPAGPipeline",
        "StableDiffusionPAGImg2ImgPipeline",
        "StableDiffusionPAGInpaintPipeline",
        "StableDiffusionPAGPipeline",
        "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        "StableDiffusionXLControlNetPAGPipeline",
        "StableDiffusionXLPAGImg2ImgPipeline",
        "StableDiffusionXLPAGInpaintPipeline",
        "StableDiffusionXLPAGPipeline",
    ),
    "no native block yet: T2I-Adapter": (
        "StableDiffusionAdapterPipeline",
        "StableDiffusionXLAdapterPipeline",
    ),
    "no native task yet: FLUX.2 klein with kept keys and values of references": (
        "Flux2KleinKVPipeline",
    ),
    "no native template yet: the UNet reads a depth map, a picture of low resolution, or the "
    "embedding of a picture": (
        "StableDiffusionDepth2ImgPipeline",
        "StableDiffusionImageVariationPipeline",
        "StableDiffusionLatentUpscalePipeline",
        "StableDiffusionUpscalePipeline",
        "StableUnCLIPImg2ImgPipeline",
        "StableUnCLIPPipeline",
    ),
    "edits by inverting a picture, with a scheduler state of its own: another method on these "
    "models": (
        "LEditsPPPipelineStableDiffusion",
        "LEditsPPPipelineStableDiffusionXL",
    ),
    "makes videos": ("AnimateDiffSDXLPipeline",),
}
"""Classes by the reason why none of them is native."""

_KWARGS = "goes to the attention processors as it is; which read it belongs to adapters"
_RAISES = "raises in Diffusers with transformers 5; here it works, which has tests of its own"
_IP = "no native block yet: IP-Adapter"
_FAILS = "Diffusers fails wherever it is given"
_UNREAD = "Diffusers only leaves out a draw for it: tests of their own"
LEFT_OUT: dict[str, str] = {
    "return_dict": "says how results are returned",
    "callback_on_step_end": "in every cell, to take the latents; what it does: tests of its own",
    "callback_on_step_end_tensor_inputs": "tests of their own",
    "callback": "in every cell of a class that takes no other, to take the latents",
    "callback_steps": "how often that one is called",
    "generator": "in every cell",
    "output_type": "in every cell",
    "cross_attention_kwargs": _KWARGS,
    "joint_attention_kwargs": _KWARGS,
    "attention_kwargs": _KWARGS,
    "ip_adapter_image": _IP,
    "ip_adapter_image_embeds": _IP,
    "negative_ip_adapter_image": _IP,
    "negative_ip_adapter_image_embeds": _IP,
    "StableDiffusionPipeline.clip_skip": _RAISES,
    "StableDiffusionImg2ImgPipeline.clip_skip": _RAISES,
    "StableDiffusionInpaintPipeline.clip_skip": _RAISES,
    "LatentConsistencyModelPipeline.clip_skip": _RAISES,
    "LatentConsistencyModelImg2ImgPipeline.clip_skip": _RAISES,
    "StableDiffusionXLImg2ImgPipeline.latents": "Diffusers does not read it, YggDrasil refuses it",
    "FluxInpaintPipeline.masked_image_latents": _UNREAD,
    "FluxFillPipeline.masked_image_latents": "YggDrasil refuses it and says what to do",
    "Flux2Pipeline.caption_upsample_temperature": "no native block yet: YggDrasil refuses it and "
    "says what to do; Diffusers wants a processor here that needs torchvision",
    "FluxKontextInpaintPipeline.max_area": "Diffusers takes the size of the picture all the same, "
    "YggDrasil refuses it",
    "FluxControlInpaintPipeline.latents": _FAILS,
    "FluxControlInpaintPipeline.masked_image_latents": _FAILS,
    "FluxControlNetInpaintPipeline.masked_image_latents": _UNREAD,
    "StableDiffusionControlNetPipeline.clip_skip": _RAISES,
    "StableDiffusionControlNetImg2ImgPipeline.clip_skip": _RAISES,
    "StableDiffusionControlNetInpaintPipeline.clip_skip": _RAISES,
    "StableDiffusionXLControlNetUnionInpaintPipeline.padding_mask_crop": "Diffusers wants one "
    "control picture and no list, and makes a list of it",
    "controlnet_pooled_projections": "Diffusers fails on a tensor, or does not read it",
}
"""Arguments that no feature gives, of every class or of one, with the reason."""


def pipeline_classes() -> frozenset[str]:
    """Gives the names of all classes of these families that Diffusers exports, itself asked."""
    folders = {name: folder for folder, names in _structure().items() for name in names}
    exported = {name for names in diffusers._import_structure.values() for name in names}
    return frozenset(
        name
        for name in exported
        if re.search(r"Pipeline(?!Output)", name)
        and (_NAMES.search(name) or folders.get(name) in _FOLDERS)
    )


def _structure() -> dict[str, list[str]]:
    return dict(pipelines._import_structure)

"""The schedulers of Diffusers that no solver drives, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NOT_DRIVEN"]

_TOKENS = "it fills in tokens: there are no latents to take noise from"
_FLOW = "it is for models that predict flow, and comes with their families"
_TWO_TIMES = "its step reads the timestep of the step before too"

NOT_DRIVEN: Mapping[str, str] = MappingProxyType(
    {
        "AmusedScheduler": _TOKENS,
        "BlockRefinementScheduler": _TOKENS,
        "CogVideoXDPMScheduler": _TWO_TIMES,
        "ConsistencyDecoderScheduler": "it belongs to a decoder that is a diffusion model itself",
        "DDPMWuerstchenScheduler": "its timesteps are ratios, one for each sample of the batch",
        "DiscreteDDIMScheduler": _TOKENS,
        "EntropyBoundScheduler": _TOKENS,
        "FlowMapEulerDiscreteScheduler": _FLOW,
        "FlowMatchHeunDiscreteScheduler": _FLOW,
        "FlowMatchLCMScheduler": _FLOW,
        "HeliosDMDScheduler": _FLOW,
        "HeliosScheduler": _FLOW,
        "KarrasVeScheduler": "it evaluates the model twice a step, at noise levels of its own",
        "LTXEulerAncestralRFScheduler": _FLOW,
        "MiniMaxH3Scheduler": _FLOW,
        "PiflowScheduler": _FLOW,
        "RFD4ProteinaScheduler": "it moves atoms of proteins, with a mask in every step",
        "RePaintScheduler": "its step reads the picture and its mask, and it goes back and forth",
        "SCMScheduler": "it is for consistency models of flow, whose timesteps are angles",
        "ScoreSdeVeScheduler": "it has a prediction and a correction in the place of a step",
        "ScoreSdeVpScheduler": "it has a prediction in the place of a step, and no noising",
        "UnCLIPScheduler": _TWO_TIMES,
        "VQDiffusionScheduler": _TOKENS,
    }
)
"""By the name of the class. Diffusers' Stable Diffusion pipelines cannot run any of them."""

"""The schedulers of Diffusers that no solver drives, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NOT_DRIVEN"]

_TOKENS = "it decides tokens: there are no latents to take noise from"
_FLOW = "it is for models that predict flow, and comes with their families"

NOT_DRIVEN: Mapping[str, str] = MappingProxyType(
    {
        "AmusedScheduler": _TOKENS,
        "BlockRefinementScheduler": _TOKENS,
        "CogVideoXDPMScheduler": "its step is handed the prediction of the step before",
        "ConsistencyDecoderScheduler": "it is for the consistency decoder, of 2 steps at most",
        "DDPMWuerstchenScheduler": "its timesteps are ratios, one for each sample of the batch",
        "DiscreteDDIMScheduler": _TOKENS,
        "EntropyBoundScheduler": _TOKENS,
        "FlowMapEulerDiscreteScheduler": _FLOW,
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
        "UnCLIPScheduler": "it is unCLIP's own; Diffusers has replaced it by DDPMScheduler",
        "VQDiffusionScheduler": _TOKENS,
    }
)
"""By the name of the class. Diffusers' Stable Diffusion pipelines make no picture with them."""

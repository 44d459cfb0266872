"""What early models say wrongly in their configurations, and Diffusers' pipelines put right.

The constructors of its Stable Diffusion pipelines change the configurations of components that
were saved before some of their values existed. A model from a folder is read with the same
changes; the components of a pipeline object have them already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

__all__ = ["Repair", "repaired_values", "repairs_for"]


class Repair(NamedTuple):
    """One value of a configuration that is put right.

    Attributes:
        component: The component's folder.
        name: The value's.
        value: What it becomes.
        wrong: Whether a configuration, which has the value, needs it.
    """

    component: str
    name: str
    value: Any
    wrong: Callable[[Mapping[str, Any]], bool]


def repairs_for(pipeline_class: object, component: str) -> tuple[Repair, ...]:
    """Gives the repairs of a component in a model of some pipeline's class.

    Args:
        pipeline_class: As an index names it, whatever it says there.
        component: The component's folder.
    """
    known = _REPAIRS.get(pipeline_class, ()) if isinstance(pipeline_class, str) else ()
    return tuple(repair for repair in known if repair.component == component)


def repaired_values(repairs: tuple[Repair, ...], config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the values of a configuration that become others.

    Args:
        repairs: Those of its component.
        config: As the component holds it, with the defaults of its class.
    """
    return {
        repair.name: repair.value
        for repair in repairs
        if repair.name in config and repair.wrong(config)
    }


_SOON_0_9 = Version("0.9.0.dev0")


def _is_early_and_small(config: Mapping[str, Any]) -> bool:
    size = config["sample_size"]
    try:
        version = Version(Version(str(config["_diffusers_version"])).base_version)
    except (KeyError, InvalidVersion):
        return False
    return isinstance(size, int) and size < 64 and version < _SOON_0_9


_COMMON = (
    Repair("scheduler", "steps_offset", 1, wrong=lambda config: config["steps_offset"] != 1),
    Repair("unet", "sample_size", 64, wrong=_is_early_and_small),
)
_UNCLIPPED = Repair(
    "scheduler", "clip_sample", value=False, wrong=lambda config: config["clip_sample"] is True
)
_NO_WARM_UP = Repair(
    "scheduler", "skip_prk_steps", value=True, wrong=lambda config: not config["skip_prk_steps"]
)

_REPAIRS: Mapping[str, tuple[Repair, ...]] = MappingProxyType(
    {
        "StableDiffusionPipeline": (*_COMMON, _UNCLIPPED),
        "StableDiffusionImg2ImgPipeline": (*_COMMON, _UNCLIPPED),
        "StableDiffusionInpaintPipeline": (*_COMMON, _NO_WARM_UP),
    }
)

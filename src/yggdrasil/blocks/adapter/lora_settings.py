"""What of a LoRA may be set between calls: how much of it acts, where, and whether it is fused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from yggdrasil.blocks.adapter.fusions import Fusing
from yggdrasil.blocks.adapter.lora_source import LoraSource
from yggdrasil.blocks.checks import check_count, check_finite
from yggdrasil.core.errors import InputError

__all__ = ["Fuse", "LoraSettings", "Scale"]

Scale = float | Mapping[str, Any]

Fuse = bool | Mapping[str, float]


class LoraSettings(LoraSource):
    """A LoRA with its switches and scales, which are its configuration."""

    def _use_settings(self) -> None:
        for name in ("scale", "active", "fuse", "fuse_order"):
            _CHECKS[name](self._config[name])

    @property
    def scale(self) -> Scale:
        """How much of it is added."""
        value: Scale = self.config["scale"]
        return value

    @scale.setter
    def scale(self, value: Scale) -> None:
        """Sets it for the next call."""
        self._put("scale", copy.deepcopy(value))

    @property
    def fuse(self) -> Fuse:
        """Whether it is added into the weights for a run, or by component at which factor."""
        value: Fuse = self.config["fuse"]
        return dict(value) if isinstance(value, Mapping) else value

    @fuse.setter
    def fuse(self, value: Fuse) -> None:
        """Sets it for the next call."""
        self._put("fuse", dict(value) if isinstance(value, Mapping) else value)

    @property
    def fuse_order(self) -> int:
        """Its place among those that are fused."""
        return int(self.config["fuse_order"])

    @fuse_order.setter
    def fuse_order(self, value: int) -> None:
        """Sets it for the next call."""
        self._put("fuse_order", value)

    @property
    def fuse_alone(self) -> bool:
        """Whether LoRAs that are not fused do not act on the layers into which it is."""
        return bool(self.config["fuse_alone"])

    @fuse_alone.setter
    def fuse_alone(self, value: bool) -> None:
        """Sets it for the next call."""
        self._set("fuse_alone", bool(value))

    @property
    def safe_fusing(self) -> bool:
        """Whether weights that fusing would make NaN or infinite are refused."""
        return bool(self.config["safe_fusing"])

    @safe_fusing.setter
    def safe_fusing(self, value: bool) -> None:
        """Sets it for the next call."""
        self._set("safe_fusing", bool(value))

    @property
    def active(self) -> bool | tuple[str, ...]:
        """Whether it acts, or on which components alone."""
        value: bool | Sequence[str] = self.config["active"]
        return value if isinstance(value, bool) else tuple(value)

    @active.setter
    def active(self, value: bool | Sequence[str]) -> None:
        """Sets it for the next call."""
        _check_active(value)
        self._set("active", value if isinstance(value, bool) else list(value))

    @property
    def enabled(self) -> bool:
        """Whether it may act at all."""
        return bool(self.config["enabled"])

    @enabled.setter
    def enabled(self, value: bool) -> None:
        """Sets it for the next call."""
        self._set("enabled", bool(value))

    def acts_on(self, component: str) -> bool:
        """Says whether it is among what acts on a component, enabled or not, at any scale."""
        return self.active if isinstance(self.active, bool) else component in self.active

    def fuse_factor(self, component: str) -> float | None:
        """Gives what its scale is multiplied by where it is fused; None where it is not.

        Args:
            component: Where.
        """
        fuse = self.fuse
        if isinstance(fuse, Mapping):
            return fuse.get(component)
        return 1.0 if fuse else None

    def _put(self, name: str, value: Any) -> None:
        _CHECKS[name](value)
        self._set(name, value)

    def _names_of_components(self) -> list[tuple[str, str]]:
        """Gives the components that settings name, each with the setting."""
        named = {"scale": self.scale, "fuse": self.fuse, "active": self.active}
        return [
            (setting, component)
            for setting, value in named.items()
            if isinstance(value, Mapping | tuple)
            for component in value
        ]

    def _scale_for(self, component: str) -> Any:
        """Gives the scale for a component, as Diffusers' ``set_adapters`` takes it."""
        scale = self.scale
        return scale.get(component, 1.0) if isinstance(scale, Mapping) else scale

    def _fusing(self, component: str) -> Fusing | None:
        """Gives how it is fused into a component; None where it is not."""
        factor = self.fuse_factor(component)
        if factor is None:
            return None
        return Fusing(factor, self.fuse_order, self.safe_fusing, self.fuse_alone)


def _check_active(value: object) -> None:
    """Refuses what says of no component whether it acts there."""
    several = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    if not isinstance(value, bool) and not several:
        raise InputError(
            f"active is {value!r}: give True, False or a list of components, such as ['unet']."
        )


def _check_fuse(value: object) -> None:
    """Refuses what says of no component whether it is fused there."""
    if isinstance(value, Mapping):
        for component, factor in value.items():
            check_finite(f"fuse[{component!r}]", factor)
    elif not isinstance(value, bool):
        raise InputError(
            f"fuse is {value!r}: give True, False, or by component what the scale is multiplied "
            "by there, such as {'unet': 0.5}."
        )


def _check_scale(value: object, name: str = "scale") -> None:
    """Refuses what is no scale, at any depth."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_scale(each, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            _check_scale(each, f"{name}[{number}]")
    else:
        check_finite(name, value)


def _check_order(value: object) -> None:
    check_count("fuse_order", value, least=0)


_CHECKS: Mapping[str, Callable[[object], None]] = {
    "scale": _check_scale,
    "active": _check_active,
    "fuse": _check_fuse,
    "fuse_order": _check_order,
}
"""What refuses values of settings that cannot be right."""

"""The role of networks that run inside the loop and add to the backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import ModelArguments, Residuals, Timestep
from yggdrasil.core.ports import op
from yggdrasil.core.residuals import (
    BranchedResidualsValue,
    ControlPicture,
    ControlPictureValue,
    ResidualsValue,
)
from yggdrasil.core.values import (
    BackboneSpec,
    BackboneSpecValue,
    BranchedConditioning,
    BranchedConditioningValue,
    BranchedValue,
    Conditioning,
    ConditioningValue,
    ModelInput,
)

__all__ = ["AbstractInnerModule"]

_POSITIVE = "positive"


class AbstractInnerModule(AbstractBaseBlock):
    """A network that runs inside the loop and adds to the backbone, such as a ControlNet.

    A subclass prepares its picture in an op ``picture(control_image, ...) -> ControlPicture``,
    which runs once, and evaluates one call; ``guide`` turns samples and branches into such calls,
    batched as the backbone's are.

    Attributes:
        positive_only: Whether the positive branch alone is evaluated, and what it gives is added to
            every branch.
    """

    role: ClassVar[str] = "inner_module"
    call_inputs: ClassVar[Mapping[str, bool]] = MappingProxyType(
        {
            "control_image": True,
            "controlnet_conditioning_scale": False,
            "control_guidance_start": False,
            "control_guidance_end": False,
        }
    )
    positive_only: ClassVar[bool] = False

    @op
    @final
    def guide(
        self,
        sample: ModelInput,
        timestep: Timestep,
        conditioning: Conditioning | BranchedConditioning,
        picture: ControlPicture,
        backbone: BackboneSpec | None = None,
        index: int | None = None,
        count: int | None = None,
        controlnet_conditioning_scale: float | list[float] = 1.0,
        control_guidance_start: float | list[float] = 0.0,
        control_guidance_end: float | list[float] = 1.0,
        guess_mode: bool = False,  # noqa: FBT001, FBT002 - a port
        model_arguments: ModelArguments | None = None,
    ) -> Residuals:
        """Gives what is added inside the backbone at a step.

        Args:
            sample: The backbone's input ``b c h w``, for the step or for each of its branches.
            timestep: Scalar or ``b``.
            conditioning: What the backbone is conditioned on.
            picture: The prepared picture.
            backbone: What the backbone says of itself, to be compared with what the module fits.
            index: Of the step, from 0; None in training, where every step counts.
            count: Of all steps.
            controlnet_conditioning_scale: Factor of all that is added; a number for each picture,
                where the module reads several.
            control_guidance_start: The share of the steps before which nothing is added.
            control_guidance_end: The share of the steps after which nothing is added.
            guess_mode: Evaluate the positive branch alone, add nothing to the others, and less to
                shallow layers than to deep ones.
            model_arguments: Of the backbone's forward, for modules that read the same ones.
        """
        del backbone
        windows = _windows(
            controlnet_conditioning_scale, control_guidance_start, control_guidance_end
        )
        scale = tuple(each.scale_at(index, count) for each in windows)
        if not any(scale) and self.is_silent_at_zero(picture):
            return BranchedResidualsValue()  # zeros would be added
        arguments = dict(model_arguments or {})
        guess = guess_mode or self.always_guesses()
        if not isinstance(sample, BranchedValue):
            single = (
                conditioning.joined
                if isinstance(conditioning, BranchedConditioningValue)
                else conditioning
            )
            alone = self.evaluate(sample, timestep, single, picture, (), scale, guess, arguments)
            return BranchedResidualsValue({(): alone})
        if not isinstance(conditioning, BranchedConditioningValue):
            raise TypeError("a branched sample needs a conditioning for each of its branches")
        parts: dict[tuple[str, ...], ResidualsValue] = {}
        for names in self._groups(sample, conditioning):
            asked = tuple(name for name in names if name == _POSITIVE) if guess else names
            if asked:
                given = self._evaluate_together(
                    sample, asked, timestep, conditioning, picture, scale, guess, arguments
                )
                parts[names] = _padded(given, names) if asked != names else given
        if self.positive_only:
            return BranchedResidualsValue(everywhere=parts[_POSITIVE,])
        return BranchedResidualsValue(parts)

    def _groups(
        self, sample: BranchedValue, conditioning: BranchedConditioningValue
    ) -> list[tuple[str, ...]]:
        """Gives the branches that are evaluated together, as the backbone evaluates them."""
        if self.positive_only:
            return [(_POSITIVE,)]
        together = tuple(name for name in sample.names if name in conditioning.alike)
        if conditioning.apart or not together:
            return [(name,) for name in sample.names]
        return [together, *((name,) for name in sample.names if name not in together)]

    def _evaluate_together(
        self,
        sample: BranchedValue,
        names: tuple[str, ...],
        timestep: Tensor,
        conditioning: BranchedConditioningValue,
        picture: ControlPictureValue,
        scale: tuple[float, ...],
        guess: bool,  # noqa: FBT001 - of every call
        model_arguments: dict[str, Any],
    ) -> ResidualsValue:
        """Evaluates branches as one batch."""
        tensors = tuple(sample[name] for name in names)
        joined = tensors[0] if len(names) == 1 else torch.cat(tensors)
        times = timestep.repeat(len(names)) if timestep.ndim else timestep
        return self.evaluate(
            joined, times, conditioning.join(names), picture, names, scale, guess, model_arguments
        )

    @abstractmethod
    def evaluate(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: ConditioningValue,
        picture: ControlPictureValue,
        names: tuple[str, ...],
        scale: tuple[float, ...],
        guess: bool,  # noqa: FBT001 - of every call
        model_arguments: dict[str, Any],
    ) -> ResidualsValue:
        """Runs the module once.

        Args:
            sample: ``b c h w``.
            timestep: Scalar or ``b``.
            conditioning: Named tensors with the same batch.
            picture: The prepared picture; ``picture.of(names)`` has the same batch.
            names: The branches that are evaluated together; none where there are none.
            scale: Factor of all that is added, or one for each picture.
            guess: Whether shallow layers are to add less than deep ones.
            model_arguments: Further keyword arguments of the backbone's forward.
        """

    def always_guesses(self) -> bool:
        """Says whether the module was trained to be evaluated as in guess mode."""
        return False

    def is_silent_at_zero(self, picture: ControlPictureValue) -> bool:
        """Says whether the module adds nothing where all factors are 0.

        Args:
            picture: The prepared picture.
        """
        del picture
        return True

    @abstractmethod
    def check_backbone(self, backbone: BackboneSpecValue) -> None:
        """Refuses a backbone that the module was not made for, by configurations alone.

        Args:
            backbone: What it says of itself.

        Raises:
            InputError: Their widths differ.
        """

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses a backbone that the module was not made for, and shares that cannot be.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        if op != "guide":
            return
        if known.get("backbone") is not None:
            self.check_backbone(known["backbone"])
        for each in _windows(
            known.get("controlnet_conditioning_scale", 1.0),
            known.get("control_guidance_start", 0.0),
            known.get("control_guidance_end", 1.0),
        ):
            each.check()


class _Window(NamedTuple):
    """How strongly a picture counts, and in which steps."""

    scale: float
    start: float
    end: float

    def scale_at(self, index: int | None, count: int | None) -> float:
        """Gives the factor at a step; in training there are none, and it always counts."""
        if index is None or not count:
            return self.scale
        # Written as Diffusers' pipelines write it: shares may fall on either side of a bound.
        outside = index / count < self.start or (index + 1) / count > self.end
        return self.scale * (1.0 - float(outside))

    def check(self) -> None:
        """Refuses what is no number, and shares that cannot be.

        Raises:
            InputError: A value cannot be right.
        """
        for name, value in (
            ("controlnet_conditioning_scale", self.scale),
            ("control_guidance_start", self.start),
            ("control_guidance_end", self.end),
        ):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{name} is {value!r}: give a number, or one for each node.")
        if not 0.0 <= self.start < self.end <= 1.0:
            raise InputError(
                f"control_guidance_start is {self.start} and control_guidance_end {self.end}: they "
                "are shares of the steps, from 0 to 1, the start before the end."
            )


def _windows(*values: float | list[float]) -> tuple[_Window, ...]:
    """Gives factor, start and end for each picture; a number is for all of them.

    Raises:
        InputError: Lists are of different lengths.
    """
    count = max(len(each) if isinstance(each, list | tuple) else 1 for each in values)
    columns = [list(e) if isinstance(e, list | tuple) else [e] * count for e in values]
    if any(len(column) != count for column in columns):
        raise InputError(
            "controlnet_conditioning_scale, control_guidance_start and control_guidance_end have "
            f"{', '.join(str(len(column)) for column in columns)} items: give numbers, or lists "
            "of one length."
        )
    return tuple(_Window(*row) for row in zip(*columns, strict=True))


def _padded(residuals: ResidualsValue, names: tuple[str, ...]) -> ResidualsValue:
    """Gives the positive branch's residuals with zeros for the others."""

    def pad(tensor: Tensor) -> Tensor:
        zeros = torch.zeros_like(tensor)
        return torch.cat([tensor if name == _POSITIVE else zeros for name in names])

    return ResidualsValue(
        tensors={
            name: pad(value) if isinstance(value, Tensor) else tuple(map(pad, value))
            for name, value in residuals.tensors.items()
        },
        shared=residuals.shared,
    )

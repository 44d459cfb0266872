"""Values with a structure of their own that flow between the roles of a diffusion graph."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Kind

__all__ = [
    "BackboneSpec",
    "Branched",
    "BranchedConditioning",
    "CodecSpec",
    "Conditioning",
    "Extras",
    "LatentShape",
    "ModelInput",
    "ModelOutput",
    "SolverSpec",
    "SolverState",
    "TextStates",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditioningValue:
    """What a backbone is conditioned on: named tensors, each with the batch as its first axis.

    Attributes:
        tensors: By the names of the model's forward arguments (``encoder_hidden_states``, ...).
        batch: How many samples it describes.
        shared: Further arguments that are the same for every sample and have no batch axis, such
            as the positions of tokens.
    """

    tensors: Mapping[str, Tensor]
    batch: int
    shared: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first tensor, which decides that of the noise."""
        return next(iter(self.tensors.values())).dtype

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return next(iter(self.tensors.values())).device

    def with_extras(self, extras: Iterable[ExtrasValue], branch: str | None = None) -> Self:
        """Gives the same with what else the model reads.

        Args:
            extras: Later ones go before earlier ones.
            branch: Which branch of a step it is for, if it is for one.
        """
        tensors, shared = dict(self.tensors), dict(self.shared)
        for each in extras:
            own = {**each.tensors, **each.branches.get(branch or "", {})}
            for name, tensor in own.items():
                one = len(tensor) == 1 and self.batch != 1
                tensors[name] = torch.cat([tensor] * self.batch) if one else tensor
            shared.update(each.shared)
        return replace(self, tensors=tensors, shared=shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStatesValue:
    """What one text encoder of several makes of the prompts.

    Attributes:
        encoder: Which of them it is, such as ``clip_l``.
        states: Hidden states, ``b tokens width``.
        pooled: One vector for each text, ``b width``, where the encoder has one.
    """

    encoder: str
    states: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasValue:
    """What a model reads beside the description of the picture: sizes, a guidance scale, positions.

    Attributes:
        tensors: By the names of the model's forward arguments, with the batch, or 1, as first axis.
        shared: What has no batch axis.
        branches: By branch of a step: tensors that are others there.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))
    shared: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    branches: Mapping[str, Mapping[str, Tensor]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideValue:
    """What is particular to the evaluations of one branch.

    Attributes:
        arguments: Further arguments of the model's forward, such as layers to skip. They hold for
            all that is evaluated together, so a branch that has any is evaluated by itself.
        window: Between which shares of the steps it is evaluated, both ends excluded; None for
            every step.
    """

    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    window: tuple[float, float] | None = None

    def takes_part(self, index: int, count: int) -> bool:
        """Says whether the branch is evaluated at a step.

        Args:
            index: Of the step, from 0.
            count: Of all steps.
        """
        if self.window is None:
            return True
        start, stop = self.window
        return count * start < index < count * stop


@dataclass(frozen=True, kw_only=True)
class BranchedConditioningValue:
    """The conditionings of the evaluations that one step needs, such as negative and positive.

    Attributes:
        names: The branches, in the order in which the family batches them.
        parts: One conditioning for each branch.
        apart: Whether the family evaluates one after the other, so that they are never one batch.
        asides: By branch: what is particular to it, where anything is.
    """

    names: tuple[str, ...]
    parts: tuple[ConditioningValue, ...]
    apart: bool = False
    asides: Mapping[str, AsideValue] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(
        cls,
        branches: Mapping[str, ConditioningValue],
        asides: Mapping[str, AsideValue] = MappingProxyType({}),
    ) -> Self:
        """Builds the value from branches by name, in order.

        Args:
            branches: At least one branch.
            asides: What is particular to some of them.
        """
        return cls(names=tuple(branches), parts=tuple(branches.values()), asides=asides)

    def __getitem__(self, name: str) -> ConditioningValue:
        """Gives the conditioning of a branch by its name."""
        return self.parts[self.names.index(name)]

    def names_at(self, index: int, count: int) -> tuple[str, ...]:
        """Gives the branches that are evaluated at a step.

        Args:
            index: Of the step, from 0.
            count: Of all steps.
        """
        if not self.asides:
            return self.names
        return tuple(
            name
            for name in self.names
            if name not in self.asides or self.asides[name].takes_part(index, count)
        )

    def arguments_of(self, name: str) -> Mapping[str, Any]:
        """Gives the arguments of the model's forward that are one branch's own."""
        return self.asides[name].arguments if name in self.asides else {}

    @functools.cached_property
    def alike(self) -> tuple[str, ...]:
        """The branches that can be evaluated together: those without arguments of their own."""
        return tuple(name for name in self.names if not self.arguments_of(name))

    @functools.cached_property
    def joined(self) -> ConditioningValue:
        """The tensors of all branches that are evaluated together, along the batch axis.

        Raises:
            InputError: The branches cannot be one batch.
        """
        return self.join(self.alike)

    def join(self, names: tuple[str, ...]) -> ConditioningValue:
        """Gives some branches' tensors along the batch axis; made once, when first asked for.

        Args:
            names: At least one branch.

        Raises:
            InputError: The branches cannot be one batch.
        """
        made = self._joined.get(names)
        if made is None:
            made = self._joined[names] = _join([(name, self[name]) for name in names])
        return made

    @functools.cached_property
    def _joined(self) -> dict[tuple[str, ...], ConditioningValue]:
        return {}


def _join(branches: list[tuple[str, ConditioningValue]]) -> ConditioningValue:
    """Joins conditionings, or raises InputError where they cannot be one batch."""
    (first_name, first), *others = branches
    if not others:
        return first
    for name, part in others:
        _check_alike(first_name, first, name, part)
    parts = [part for _, part in branches]
    tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in first.tensors}
    batch = sum(part.batch for part in parts)
    return ConditioningValue(tensors=tensors, batch=batch, shared=first.shared)


def _check_alike(first: str, one: ConditioningValue, second: str, other: ConditioningValue) -> None:
    """Raises InputError where two conditionings cannot be one batch."""
    if one.tensors.keys() != other.tensors.keys():
        raise InputError(
            f"The {second} conditioning holds {sorted(other.tensors)}, the {first} one "
            f"{sorted(one.tensors)}: both must come from the same kind of encoder."
        )
    for name, tensor in one.tensors.items():
        seen = other.tensors[name]
        if seen.shape != tensor.shape:
            raise InputError(
                f"{name} is {list(seen.shape)} in the {second} and {list(tensor.shape)} in the "
                f"{first} conditioning: give as many negative prompts as prompts, and embeddings "
                "of the same number of tokens."
            )


@dataclass(frozen=True, slots=True)
class BranchedValue:
    """One tensor for each branch of a step, in the order of the branches' names."""

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]

    def __getitem__(self, name: str) -> Tensor:
        """Gives the tensor of a branch by its name."""
        return self.tensors[self.names.index(name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentShapeValue:
    """The shape, dtype and device that the noise of a run must have."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSpecValue:
    """What a codec's configuration says of its latents.

    Attributes:
        channels: Channels of the latents.
        scale: Pixels to a latent pixel, along one axis.
    """

    channels: int
    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpecValue:
    """What a backbone's configuration says of its input.

    Attributes:
        in_channels: Channels it reads, latents and further channels together.
        sample_size: Height and width it was trained at, in latent pixels; None where it has none.
        guidance_embedding: Width of an embedded guidance scale (a distilled model), or None.
        patch: Latent pixels to a token, along one axis; None for what makes no tokens of them.
        largest: Height and width that it can take at most, in latent pixels; None for no limit.
        text_width: Width of the text states that it reads; None where it does not say.
        layers: How many layers it has that can be skipped; None where it skips none.
        widths: Channels of its blocks, from the first to the deepest, or of all its tokens.
        reads_mask: Whether a mask is among the further channels that it reads.
        reads_picture: Whether those are another picture's latents and no mask.
    """

    in_channels: int
    sample_size: tuple[int, int] | None
    guidance_embedding: int | None = None
    patch: int | None = None
    largest: tuple[int, int] | None = None
    text_width: int | None = None
    layers: int | None = None
    widths: tuple[int, ...] = ()
    reads_mask: bool = False
    reads_picture: bool = False

    @property
    def reads(self) -> Literal["nothing", "picture", "mask"]:
        """What it reads beside the latents."""
        return "mask" if self.reads_mask else "picture" if self.reads_picture else "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverSpecValue:
    """What a solver's configuration says of the schedule that training draws from.

    Attributes:
        num_train_timesteps: How many timesteps it has.
    """

    num_train_timesteps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverStateValue:
    """Where a solver stands: an immutable record, so that a step can be taken twice.

    Attributes:
        latents: The sample as it is now, ``b c h w``.
        timesteps: The timesteps of the whole run, one an evaluation.
        index: How many evaluations are done.
        internals: What the solver itself remembers (tables, history); never changed in place.
        beyond: How many evaluations of the schedule lie behind the run's end.
    """

    latents: Tensor
    timesteps: Tensor
    index: int
    internals: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    beyond: int = 0

    @property
    def count(self) -> int:
        """How many evaluations the whole run takes."""
        return self.timesteps.size(0)

    @property
    def scheduled(self) -> int:
        """How many evaluations there were without an end that the caller set."""
        return self.timesteps.size(0) + self.beyond

    def with_latents(self, latents: Tensor) -> Self:
        """Gives the same state with other latents, as blending and callbacks do."""
        return replace(self, latents=latents)


Conditioning = Annotated[ConditioningValue, Kind("conditioning")]
BranchedConditioning = Annotated[BranchedConditioningValue, Kind("branches")]
TextStates = Annotated[TextStatesValue, Kind("text_states")]
Extras = Annotated[ExtrasValue, Kind("extras")]
Branched = Annotated[BranchedValue, Kind("branched")]
LatentShape = Annotated[LatentShapeValue, Kind("latent_shape")]
CodecSpec = Annotated[CodecSpecValue, Kind("codec_spec")]
BackboneSpec = Annotated[BackboneSpecValue, Kind("backbone_spec")]
SolverSpec = Annotated[SolverSpecValue, Kind("solver_spec")]
SolverState = Annotated[SolverStateValue, Kind("solver_state")]

ModelInput = Annotated[Tensor | BranchedValue, Kind("sample", "b c h w")]
"""What a backbone evaluates: one sample, or one for each branch."""

ModelOutput = Annotated[Tensor | BranchedValue, Kind("prediction", "b c h w")]
"""What a backbone answers: epsilon, v or flow, in the form of its input."""

"""Values with a structure of their own that flow between the roles of a diffusion graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Self

import torch
from torch import Tensor

from yggdrasil.core.kinds import Kind

__all__ = [
    "BackboneSpec",
    "Branched",
    "BranchedConditioning",
    "CodecSpec",
    "Conditioning",
    "LatentShape",
    "ModelInput",
    "ModelOutput",
    "SolverSpec",
    "SolverState",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditioningValue:
    """What a backbone is conditioned on: named tensors, each with the batch as its first axis.

    Attributes:
        tensors: By the names of the model's forward arguments (``encoder_hidden_states``, ...).
        batch: How many samples it describes.
    """

    tensors: Mapping[str, Tensor]
    batch: int

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first tensor, which decides that of the noise."""
        return next(iter(self.tensors.values())).dtype

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return next(iter(self.tensors.values())).device


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchedConditioningValue:
    """The conditionings of the evaluations that one step needs, such as negative and positive.

    Attributes:
        names: The branches, in the order in which the family batches them.
        parts: One conditioning for each branch.
        joined: All branches' tensors along the batch axis, for families that evaluate them at once.
    """

    names: tuple[str, ...]
    parts: tuple[ConditioningValue, ...]
    joined: ConditioningValue

    @classmethod
    def join(cls, branches: Mapping[str, ConditioningValue]) -> Self:
        """Builds the value from branches by name, in order.

        Args:
            branches: At least one branch; all with the same tensor names.
        """
        parts = tuple(branches.values())
        if len(parts) == 1:
            return cls(names=tuple(branches), parts=parts, joined=parts[0])
        tensors = {
            name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors
        }
        joined = ConditioningValue(tensors=tensors, batch=sum(part.batch for part in parts))
        return cls(names=tuple(branches), parts=parts, joined=joined)


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
    """

    in_channels: int
    sample_size: tuple[int, int] | None
    guidance_embedding: int | None = None


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
    """

    latents: Tensor
    timesteps: Tensor
    index: int
    internals: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def count(self) -> int:
        """How many evaluations the whole run takes."""
        return self.timesteps.size(0)

    def with_latents(self, latents: Tensor) -> Self:
        """Gives the same state with other latents, as blending and callbacks do."""
        return replace(self, latents=latents)


Conditioning = Annotated[ConditioningValue, Kind("conditioning")]
BranchedConditioning = Annotated[BranchedConditioningValue, Kind("branches")]
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

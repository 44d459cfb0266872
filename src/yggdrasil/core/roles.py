"""The roles that blocks play in a diffusion graph, one abstract base class each.

A role is what rules are written against: any backbone is fed by whatever guidance there is. Base
classes fix the ops whose signature is the same for every family; the rest of a role's ops (how a
text encoder takes its prompts) are declared by the blocks themselves and listed here in words.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.inner_module import AbstractInnerModule
from yggdrasil.core.kinds import (
    Channels,
    Image,
    Latents,
    Many,
    ModelArguments,
    Noise,
    Residuals,
    Timestep,
)
from yggdrasil.core.ports import op
from yggdrasil.core.residuals import BranchedResidualsValue
from yggdrasil.core.values import (
    BackboneSpec,
    BranchedConditioning,
    BranchedConditioningValue,
    BranchedValue,
    CodecSpec,
    Conditioning,
    ConditioningValue,
    Extras,
    LatentShape,
    LatentShapeValue,
    ModelInput,
    ModelOutput,
    SolverState,
)

__all__ = [
    "AbstractAdapter",
    "AbstractBackbone",
    "AbstractCodec",
    "AbstractConditioner",
    "AbstractGuidance",
    "AbstractInnerModule",
    "AbstractLayout",
    "AbstractObjective",
    "AbstractOuterModule",
    "AbstractProcessor",
    "AbstractSolver",
    "AbstractSource",
    "AbstractTextEncoder",
    "AbstractTimesteps",
]


class AbstractBackbone(AbstractBaseBlock):
    """The network that predicts: a UNet or a transformer.

    A subclass evaluates one call; ``predict`` turns samples and branches into such calls.

    Attributes:
        joins_branches: Whether the family evaluates a step's branches as one batch (Stable
            Diffusion) or one after the other (FLUX with true guidance); last bits depend on it.
            A branch with arguments of its own is evaluated by itself in any family.
        channel_axis: Of the sample, along which further channels are joined.
    """

    role: ClassVar[str] = "backbone"
    joins_branches: bool = True
    channel_axis: ClassVar[int] = 1

    @op(fact=True)
    def spec(self) -> BackboneSpec:
        """Gives what the configuration says of the input."""
        return self.describe_input()

    @op
    @final
    def prepare(
        self, conditioning: Conditioning | BranchedConditioning, extras: Many[Extras] = ()
    ) -> BranchedConditioning:
        """Joins to a conditioning what else the model reads; once for a run.

        Args:
            conditioning: For the sample, or for each branch of a step.
            extras: Sizes, a guidance scale, positions of tokens, ...

        Raises:
            InputError: The branches cannot be one batch, and the family evaluates them as one.
        """
        if not isinstance(conditioning, BranchedConditioningValue):
            conditioning = BranchedConditioningValue.of({"positive": conditioning})
        if extras:
            conditioning = BranchedConditioningValue.of(
                {name: conditioning[name].with_extras(extras, name) for name in conditioning.names},
                conditioning.asides,
            )
        for part in conditioning.parts:
            self.check_conditioning(part)
        if not self.joins_branches:
            return replace(conditioning, apart=True)
        _ = conditioning.joined  # here, outside the loop, and refused here where it cannot be
        return conditioning

    @op
    @final
    def predict(
        self,
        sample: ModelInput,
        timestep: Timestep,
        conditioning: Conditioning | BranchedConditioning,
        channels: Channels | None = None,
        residuals: Many[Residuals] = (),
        model_arguments: ModelArguments | None = None,
    ) -> ModelOutput:
        """Predicts epsilon, v or flow for a sample, or for each branch of a step.

        Args:
            sample: The model's input ``b c h w``, already scaled by the solver.
            timestep: Scalar or ``b``.
            conditioning: What it is conditioned on, for the sample or for each branch.
            channels: Further input channels ``b c h w``, the same for every branch.
            residuals: What inner modules add.
            model_arguments: Keyword arguments for the model's forward, as they are.
        """
        extra = dict(model_arguments) if model_arguments else {}
        if not isinstance(sample, BranchedValue):
            single = (
                conditioning.joined
                if isinstance(conditioning, BranchedConditioningValue)
                else conditioning
            )
            wide_one = self._widen(sample, channels)
            return self.evaluate(wide_one, timestep, single, _of(residuals, ()), extra)
        if not isinstance(conditioning, BranchedConditioningValue):
            raise TypeError("a branched sample needs a conditioning for each of its branches")
        if self.joins_branches and sample.names == conditioning.alike:  # nearly always
            tensors = sample.tensors
            added = _of(residuals, sample.names) if residuals else ()
            parts = self._together(tensors, timestep, conditioning.joined, channels, added, extra)
            return BranchedValue(sample.names, parts)
        outputs: dict[str, Tensor] = {}
        together = tuple(name for name in sample.names if name in conditioning.alike)
        if self.joins_branches and together:
            tensors = tuple(sample[name] for name in together)
            joined = conditioning.join(together)
            added = _of(residuals, together)
            parts = self._together(tensors, timestep, joined, channels, added, extra)
            outputs.update(zip(together, parts, strict=True))
        for name in sample.names:
            if name in outputs:
                continue
            with self.cache_context(name):
                outputs[name] = self.evaluate(
                    self._widen(sample[name], channels),
                    timestep,
                    conditioning[name],
                    _of(residuals, (name,)),
                    {**extra, **conditioning.arguments_of(name)},
                )
        return BranchedValue(sample.names, tuple(outputs[name] for name in sample.names))

    def _together(
        self,
        tensors: tuple[Tensor, ...],
        timestep: Tensor,
        conditioning: ConditioningValue,
        channels: Tensor | None,
        residuals: tuple[Any, ...],
        model_arguments: dict[str, Any],
    ) -> tuple[Tensor, ...]:
        """Evaluates branches as one batch."""
        count = len(tensors)
        joined = torch.cat(tensors)
        if channels is not None:
            joined = self._widen(joined, torch.cat([channels] * count))
        # A timestep for each sample is one for each sample of each branch.
        times = timestep.repeat(count) if timestep.ndim else timestep
        output = self.evaluate(joined, times, conditioning, residuals, model_arguments)
        return output.chunk(count)

    @abstractmethod
    def describe_input(self) -> BackboneSpec:
        """Gives what the configuration says of the input, without loading weights."""

    @abstractmethod
    def evaluate(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: ConditioningValue,
        residuals: tuple[Any, ...],
        model_arguments: dict[str, Any],
    ) -> Tensor:
        """Runs the model once.

        Args:
            sample: ``b c h w``.
            timestep: Scalar or ``b``.
            conditioning: Named tensors with the same batch.
            residuals: What inner modules add, in order.
            model_arguments: Further keyword arguments of the model's forward.

        Returns:
            The prediction, ``b c h w``.
        """

    def check_conditioning(self, conditioning: ConditioningValue) -> None:
        """Refuses what the model cannot be conditioned on; asked once for a run.

        Args:
            conditioning: Of a branch, with all that is joined to it.

        Raises:
            InputError: It is for another family.
        """

    def cache_context(self, branch: str) -> contextlib.AbstractContextManager[None]:
        """Names the branch to the model's caching hooks, so that they do not mix branches."""
        del branch
        return contextlib.nullcontext()

    def _widen(self, sample: Tensor, channels: Tensor | None) -> Tensor:
        if channels is None:
            return sample
        return torch.cat([sample, channels], dim=self.channel_axis)


class AbstractCodec(AbstractBaseBlock):
    """Pictures to latents and back.

    Further ops: ``encode(image) -> Posterior`` and ``sample(posterior, ...) -> Latents``.
    """

    role: ClassVar[str] = "codec"

    @op(fact=True)
    def spec(self) -> CodecSpec:
        """Gives what the configuration says of the latents."""
        return self.describe_latents()

    @op
    @abstractmethod
    def decode(self, latents: Latents) -> Image:
        """Turns latents ``b c h w`` into a picture ``b 3 H W`` in [-1, 1]."""

    @abstractmethod
    def describe_latents(self) -> CodecSpec:
        """Gives what the configuration says of the latents, without loading weights."""


class AbstractConditioner(AbstractBaseBlock):
    """What the picture is to be like: text, a class, another picture.

    Ops by convention: ``encode(prompt, ...) -> Conditioning``, ``encode_negative(...)``, and
    ``adopt(prompt_embeds)`` / ``adopt_negative(negative_prompt_embeds)`` for embeddings that the
    caller computed.
    """

    role: ClassVar[str] = "conditioner"


class AbstractTextEncoder(AbstractBaseBlock):
    """One of several text encoders, whose states a conditioner joins.

    Nodes of this kind have the roles ``text_encoder``, ``text_encoder_2``, ... after the components
    of the model, since each may be given a prompt of its own. Ops by convention:
    ``encode(prompt, ...) -> TextStates`` and ``encode_negative(...) -> TextStates``.
    """

    role: ClassVar[str] = "text_encoder"


class AbstractGuidance(AbstractBaseBlock):
    """Which evaluations a step needs, and how their answers make one.

    ``branches`` stands outside the loop and joins the conditionings; ``expand`` and ``combine``
    stand inside.
    """

    role: ClassVar[str] = "guidance"

    @op
    @final
    def expand(
        self,
        sample: ModelInput,
        branches: BranchedConditioning,
        index: int = 0,
        count: int = 1,
    ) -> ModelInput:
        """Gives the sample to each branch of the step.

        Args:
            sample: ``b c h w``.
            branches: The branches' conditionings; one branch needs no expansion.
            index: Of the step, from 0, where branches take part in some steps only.
            count: Of all steps.
        """
        if len(branches.names) == 1 or isinstance(sample, BranchedValue):
            return sample
        names = branches.names_at(index, count)
        return BranchedValue(names, (sample,) * len(names))


class AbstractSolver(AbstractBaseBlock):
    """The update rule that turns noise into a sample, and its schedule.

    The state is an immutable record: ``start`` makes it, ``tick`` reads off it what the model
    needs, ``step`` gives the next one, ``done`` tells the end, ``finish`` reads the result.
    Stepping twice from one state gives equal bits.

    Further ops by convention: ``start(...)``, ``tick(state)``, ``step(state, model_output, ...)``,
    ``renoise(state, latents, noise)``, and for training ``corrupt``, ``target`` and the fact
    ``spec() -> SolverSpec``.
    """

    role: ClassVar[str] = "solver"

    @op
    @final
    def done(self, state: SolverState) -> bool:
        """Says whether no step is left."""
        return state.index >= state.count

    @op
    @final
    def finish(self, state: SolverState) -> Latents:
        """Reads the result, latents ``b c h w``, off the last state."""
        return state.latents

    @op
    @abstractmethod
    def corrupt(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelInput:
        """Gives the model's training input: latents noised to a timestep.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, positions on the training schedule.
        """

    @op
    @abstractmethod
    def target(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelOutput:
        """Gives what the model should answer: epsilon, v or flow.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, positions on the training schedule.
        """


class AbstractSource(AbstractBaseBlock):
    """Where randomness comes from; op ``sample(shape, generator) -> Noise``."""

    role: ClassVar[str] = "source"


class AbstractTimesteps(AbstractBaseBlock):
    """Which timesteps training visits; op ``sample(latents, generator, solver) -> Timestep``."""

    role: ClassVar[str] = "timesteps"


class AbstractLayout(AbstractBaseBlock):
    """Turns specs, sizes and batch into shapes, and packs latents where a family packs.

    Further ops by convention: ``shape(...) -> LatentShape``, ``pack``, ``unpack``.
    """

    role: ClassVar[str] = "layout"

    @op
    @final
    def match(self, latents: Latents) -> LatentShape:
        """Gives the shape of latents that are there, for noise to be added to them.

        Args:
            latents: ``b c h w``.
        """
        return LatentShapeValue(
            shape=tuple(latents.shape), dtype=latents.dtype, device=latents.device
        )

    @op
    @final
    def batch(self, conditioning: Conditioning) -> int:
        """Gives how many samples a run makes, for what must be repeated to fit.

        Args:
            conditioning: Of the run.
        """
        return conditioning.batch


class AbstractOuterModule(AbstractBaseBlock):
    """An external model before or after the loop: a detector, a segmenter, a safety checker."""

    role: ClassVar[str] = "outer_module"


class AbstractProcessor(AbstractBaseBlock):
    """Pre- and post-processing without weights: resize, mask, blend."""

    role: ClassVar[str] = "processor"


class AbstractObjective(AbstractBaseBlock):
    """What training makes small; op ``loss(...) -> Loss``."""

    role: ClassVar[str] = "objective"


def _of(residuals: tuple[Any, ...], names: tuple[str, ...]) -> tuple[Any, ...]:
    """Gives what inner modules add to the evaluation of some branches together."""
    if not residuals:
        return residuals
    of_them = (r.of(names) if isinstance(r, BranchedResidualsValue) else r for r in residuals)
    return tuple(each for each in of_them if each is not None)

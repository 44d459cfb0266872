"""Toy blocks: small enough to compute by hand, shaped like the parts of a diffusion graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Generator, Image, Kind, Latents, Many, Noise, Prompts
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block

Number = Annotated[Tensor, Kind("number", "n")]
Scale = Annotated[float, Kind("scale")]
Embedding = Annotated[Tensor, Kind("embedding", "n")]
Prediction = Annotated[Tensor, Kind("prediction", "n")]
Residual = Annotated[Tensor, Kind("residuals")]

calls: list[str] = []
"""Every op that ran, by the name of its block's ``tag``; tests clear it."""


def ran(*names: str) -> int:
    """Says how often ops ran."""
    return sum(calls.count(name) for name in names)


@register_block("toy/add")
class Add(AbstractBaseBlock):
    """x + n."""

    def __init__(self, n: float = 1.0, tag: str = "add") -> None:
        self.n = n
        self.tag = tag

    @op
    def run(self, x: Number) -> Number:
        calls.append(self.tag)
        return x + self.n


@register_block("toy/double")
class Double(AbstractBaseBlock):
    @op
    def run(self, x: Number) -> Number:
        calls.append("double")
        return x * 2


class Halves(NamedTuple):
    left: Number
    right: Number


@register_block("toy/split")
class Split(AbstractBaseBlock):
    """A third and the rest."""

    @op
    def run(self, x: Number) -> Halves:
        return Halves(x / 3, x - x / 3)


@register_block("toy/mix")
class Mix(AbstractBaseBlock):
    """a - 2 b + 4 c; b and c optional."""

    @op
    def run(self, a: Number, b: Number | None = None, c: Number | None = None) -> Number:
        result = a
        if b is not None:
            result = result - 2 * b
        if c is not None:
            result = result + 4 * c
        return result


@register_block("toy/gather")
class Gather(AbstractBaseBlock):
    """A sum in which the order shows."""

    @op
    def run(self, parts: Many[Number]) -> Number:
        result = torch.zeros(1)
        for part in parts:
            result = result * 3 + part
        return result


@register_block("toy/weigh")
class Weigh(AbstractBaseBlock):
    """x times a weight of its own."""

    def __init__(self, start: float = 2.0) -> None:
        self.weight = nn.Parameter(torch.tensor(start))

    @op
    def run(self, x: Number) -> Number:
        calls.append("weigh")
        return x * self.weight


@register_block("toy/as_number")
class AsNumber(AbstractBaseBlock):
    @op
    def run(self, x: Image) -> Number:
        return x


# -- parts of a diffusion graph ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateValue:
    latents: Tensor
    index: int
    count: int


State = Annotated[StateValue, Kind("solver_state")]


class Tick(NamedTuple):
    state: State
    sample: Latents
    timestep: Annotated[Tensor, Kind("timestep")]


@register_block("toy_solver/halving")
class Solver(AbstractBaseBlock):
    """Goes half the way from the sample towards the prediction."""

    role: ClassVar[str] = "solver"

    @op
    def start(
        self,
        noise: Noise,
        num_inference_steps: int = 4,
        init_latents: Latents | None = None,
        strength: float = 1.0,
    ) -> State:
        calls.append("start")
        if init_latents is None:
            return StateValue(noise, 0, num_inference_steps)
        first = num_inference_steps - int(num_inference_steps * strength)
        return StateValue(init_latents + noise * strength, first, num_inference_steps)

    @op
    def tick(self, state: State) -> Tick:
        return Tick(state, state.latents, torch.tensor(float(state.count - state.index)))

    @op
    def step(self, state: State, model_output: Prediction) -> State:
        calls.append("step")
        latents = state.latents + (model_output - state.latents) / 2
        return replace(state, latents=latents, index=state.index + 1)

    @op
    def done(self, state: State) -> bool:
        return state.index >= state.count

    @op
    def finish(self, state: State) -> Latents:
        return state.latents


@register_block("toy_solver/drawing")
class DrawingSolver(Solver):
    """Adds noise at each step."""

    @op
    def step(
        self, state: State, model_output: Prediction, generator: Generator | None = None
    ) -> State:
        noise = torch.randn(state.latents.shape, generator=generator)
        latents = state.latents + (model_output - state.latents) / 2 + noise / 8
        return replace(state, latents=latents, index=state.index + 1)


@register_block("toy_backbone/linear")
class Backbone(AbstractBaseBlock):
    role: ClassVar[str] = "backbone"

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.tensor(0.75))

    @op
    def predict(
        self,
        sample: Latents,
        timestep: Annotated[Tensor, Kind("timestep")],
        conditioning: Embedding,
        residuals: Many[Residual] = (),
    ) -> Prediction:
        calls.append("predict")
        result = sample * self.weight + conditioning * timestep / 10
        for residual in residuals:
            result = result * 2 + residual
        return result


@register_block("toy_control/net")
class Control(AbstractBaseBlock):
    """Looks at the sample in each step."""

    role: ClassVar[str] = "inner_module"

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    @op
    def look(self, sample: Latents, control_image: Image) -> Annotated[Tensor, Kind("residuals")]:
        calls.append("look")
        return sample * 0 + control_image * self.factor


class _Tokenizer:
    """Stands for a component that is dear to load."""

    def __init__(self) -> None:
        self.config = {"width": 3}


class Counted:
    """A source that counts how often it was loaded."""

    def __init__(self) -> None:
        self.loads = 0

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        self.loads += 1
        return slot.cls()

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        return {"width": 3}

    def describe(self) -> Mapping[str, Any]:
        return {"counted": True}


@register_block("toy_conditioner/text")
class Text(AbstractBaseBlock):
    role: ClassVar[str] = "conditioner"

    tokenizer = Component(_Tokenizer)
    extra = Component(_Tokenizer, optional=True)

    @op
    def encode(self, prompt: Prompts) -> Embedding:
        calls.append("encode_text")
        return torch.tensor([float(len(prompt))])

    @op
    def encode_negative(self, negative_prompt: Prompts = "") -> Embedding:
        calls.append("encode_negative")
        return torch.tensor([float(len(negative_prompt))])


@register_block("toy_guidance/push")
class Guidance(AbstractBaseBlock):
    """Pushes the prediction; at a scale of 1 the negative is not read."""

    role: ClassVar[str] = "guidance"

    @op
    def branches(
        self, positive: Embedding, negative: Embedding | None = None, scale: float = 2.0
    ) -> Embedding:
        return positive if negative is None else positive * scale - negative

    @op
    def combine(self, prediction: Prediction, scale: float = 2.0) -> Prediction:
        return prediction * scale

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        scale = known.get("scale", 2.0)
        if math.isnan(scale):
            raise InputError("scale is NaN: give a number.")

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        off = op == "branches" and known.get("scale", 2.0) == 1.0
        return frozenset({"negative"}) if off else frozenset()


@register_block("toy_source/noise")
class Source(AbstractBaseBlock):
    role: ClassVar[str] = "source"

    @op
    def sample(
        self, shape: Annotated[int, Kind("width")], generator: Generator | None = None
    ) -> Noise:
        calls.append("noise")
        return torch.randn(shape, generator=generator)


@register_block("toy_layout/width")
class Layout(AbstractBaseBlock):
    role: ClassVar[str] = "layout"

    def __init__(self, width: int = 3) -> None:
        self.width = width

    @op(fact=True)
    def shape(self, image: Image | None = None) -> Annotated[int, Kind("width")]:
        return self.width if image is None else image.shape[0]


class Posterior(NamedTuple):
    mean: Annotated[Tensor, Kind("posterior")]


@register_block("toy_codec/shift")
class Codec(AbstractBaseBlock):
    role: ClassVar[str] = "codec"

    @op
    def encode(self, init_image: Image) -> Posterior:
        calls.append("encode_image")
        return Posterior(init_image - 1)

    @op
    def sample(
        self,
        posterior: Annotated[Tensor, Kind("posterior")],
        generator: Generator | None = None,
    ) -> Latents:
        return posterior + torch.randn(posterior.shape, generator=generator) / 100

    @op
    def decode(self, latents: Latents) -> Image:
        calls.append("decode")
        return latents + 1


@register_block("toy_processor/blend")
class Blend(AbstractBaseBlock):
    """Spliced into the loop: where the mask is 0, what was there before."""

    role: ClassVar[str] = "processor"

    @op
    def blend(self, state: State, mask: Annotated[Tensor, Kind("mask")], known: Latents) -> State:
        calls.append("blend")
        return replace(state, latents=state.latents * mask + known * (1 - mask))


@register_block("toy_processor/shift")
class ShiftState(AbstractBaseBlock):
    """Spliced into the loop; the order of several shows."""

    role: ClassVar[str] = "processor"

    def __init__(self, factor: float = 2.0, offset: float = 0.0) -> None:
        self.factor = factor
        self.offset = offset

    @op
    def change(self, state: State) -> State:
        return replace(state, latents=state.latents * self.factor + self.offset)


# -- blocks that misbehave -----------------------------------------------------------------------


class Broken(Backbone):
    @op
    def predict(
        self,
        sample: Latents,
        timestep: Annotated[Tensor, Kind("timestep")],
        conditioning: Embedding,
        residuals: Many[Residual] = (),
    ) -> Prediction:
        raise RuntimeError("no")


class BrokenEnd(Solver):
    @op
    def done(self, state: State) -> bool:
        raise ZeroDivisionError("no end")


class PassOn(AbstractBaseBlock):
    @op
    def run(self, x: Any) -> Latents:
        return x


class TooFew(AbstractBaseBlock):
    @op
    def run(self, x: Number) -> Halves:
        return (x,)

"""Measures a cell: Diffusers and YggDrasil make its call, and what they give is compared."""

from __future__ import annotations

import atexit
import functools
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch

from tests.parity.cells import WAYS, Cell, arguments, takes
from yggdrasil import InferencePipeline

__all__ = ["DRAWS", "Differences", "measure", "pipelines"]

Differences = dict[str, float]
"""The largest absolute difference by output."""

DRAWS = "draws"
"""Stands beside the outputs for the states of generators: 0 where all are the same."""


def measure(cell: Cell, like: str | None = None, **changes: Any) -> Differences:
    """Makes the call twice, by Diffusers and by YggDrasil, and compares what comes of it.

    That is its outputs, and the states that it leaves generators in.

    Args:
        cell: The call.
        like: A feature that YggDrasil's call has in the place of the cell's, to show that a
            difference would be seen.
        **changes: Arguments that only YggDrasil gets, to the same end.

    Raises:
        AssertionError: The outputs are not of the same kinds, dtypes and shapes, or not finite.
    """
    pipe, ours = pipelines(cell)
    expected = _theirs(cell, pipe)
    pipe.to(WAYS[cell.way])  # some pipelines of Diffusers leave their VAE in float32
    other = cell if like is None else Cell(cell.pipeline, cell.model, cell.solver, cell.way, like)
    _seed()
    call = arguments(other, pipe, **changes)
    made = ours(**call).outputs
    mine = {name: _numbers(made[name]) for name in expected.keys() - {DRAWS}}
    mine[DRAWS] = _states(call)
    return {name: _difference(mine[name], value) for name, value in expected.items()}


def pipelines(cell: Cell) -> tuple[Any, InferencePipeline]:
    """Gives the pipelines that make a cell's call, Diffusers' and YggDrasil's."""
    if cell.way == "saved":
        pipe, ours = _saved(cell)
    else:
        pipe = _with_scheduler(cell)
        ours = InferencePipeline.from_diffusers(pipe)
    solver = cell.family.solvers.get(cell.solver)
    if solver is not None and solver.node is not None:
        ours.graph.replace_node("solver", solver.node)
    ours.set_progress_bar_config(disable=True)
    return pipe, ours


def _theirs(cell: Cell, pipe: Any) -> dict[str, torch.Tensor]:
    """Gives the outputs of Diffusers: the pictures and the last latents, or all that it returns."""
    seen: list[torch.Tensor] = []
    # What is decoded: consistency models put noise on it, and keep it beside what they step from.
    name = "denoised" if "denoised" in getattr(pipe, "_callback_tensor_inputs", ()) else "latents"

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values[name])
        return {}

    call = arguments(cell, pipe)
    if "callback_on_step_end" in takes(cell.pipeline):
        call |= {
            "callback_on_step_end": remember,
            "callback_on_step_end_tensor_inputs": [name],
        }
    elif "callback" in takes(cell.pipeline):
        call["callback"] = lambda _, __, latents: seen.append(latents)
    _seed()
    with warnings.catch_warnings():
        # Diffusers warns that one picture for two prompts will once be an error.
        warnings.simplefilter("ignore", FutureWarning)
        result = pipe(**call)
    outputs = {"latents": seen[-1], "images": result.images} if seen else dict(result)
    return {name: _numbers(value) for name, value in outputs.items()} | {DRAWS: _states(call)}


def _seed() -> None:
    """Sets the generator that Diffusers draws from where it hands on none."""
    torch.manual_seed(4)


def _states(call: Mapping[str, Any]) -> torch.Tensor:
    """Gives the states of all generators after a call: whoever draws from them next goes on so."""
    given = call.get("generator")
    several = given if isinstance(given, list) else [] if given is None else [given]
    states = [torch.get_rng_state(), *(each.get_state() for each in several)]
    return torch.stack(states)


def _numbers(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach()
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in value]))


def _difference(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    assert mine.dtype == theirs.dtype, f"{mine.dtype} in the place of {theirs.dtype}"
    if mine.shape != theirs.shape:
        return float("inf")
    mine, theirs = mine.double(), theirs.double()
    assert torch.isfinite(theirs).all(), "Diffusers gives what is not finite"
    assert torch.isfinite(mine).all(), "not finite"
    return float((mine - theirs).abs().max())


@functools.lru_cache(maxsize=16)
def _pipeline(pipeline: str, model: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Gives a pipeline of Diffusers and the configuration of its own scheduler."""
    cell = Cell(pipeline, model, "", "", "")
    pipe = cell.family.models[model](getattr(diffusers, pipeline)).to(dtype)
    pipe.set_progress_bar_config(disable=True)
    scheduler = pipe.components.get("scheduler")
    return pipe, None if scheduler is None else (type(scheduler), dict(scheduler.config))


def _with_scheduler(cell: Cell) -> Any:
    pipe, own = _pipeline(cell.pipeline, cell.model, WAYS[cell.way])
    solver = cell.family.solvers.get(cell.solver)
    if solver is not None:
        scheduler = getattr(diffusers, solver.scheduler)
        pipe.scheduler = scheduler.from_config(own[1], **solver.options)
    return pipe


_SAVED: dict[tuple[str, str, str], tuple[Any, InferencePipeline, Any]] = {}


@atexit.register
def _forget() -> None:
    """Removes what was saved."""
    for *_, folder in _SAVED.values():
        folder.cleanup()
    _SAVED.clear()


def _saved(cell: Cell) -> tuple[Any, InferencePipeline]:
    """Gives both pipelines as they are read from what Diffusers' was saved to; the last are kept.

    Diffusers mends the configurations of early models where it reads them, so it reads them too.
    """
    key = (cell.pipeline, cell.model, cell.solver)
    if key not in _SAVED:
        _forget()
        folder = tempfile.TemporaryDirectory(prefix="yggdrasil-parity-")
        made = _with_scheduler(cell)
        made.save_pretrained(folder.name)
        # What a model comes without Diffusers wants to be told again, though the folder says it.
        absent = dict.fromkeys(name for name, each in made.components.items() if each is None)
        theirs = type(made).from_pretrained(folder.name, **absent)
        theirs.set_progress_bar_config(disable=True)
        ours = InferencePipeline.from_pretrained(folder.name)
        models = [each for each in theirs.components.values() if isinstance(each, torch.nn.Module)]
        for module in (*models, *ours.modules().values()):
            for parameter in module.parameters():
                # A file leaves weights at odd addresses, and products of matrices differ by 2e-6
                # with where their operands lie.
                parameter.data = parameter.data.clone()
        _SAVED[key] = (theirs, ours, folder)
    theirs, ours, _ = _SAVED[key]
    return theirs, ours

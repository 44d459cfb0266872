"""The training loop: optimizer, schedule, average and checkpoints around a loss function."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from yggdrasil.core.errors import ConfigError, ModelError, nearest
from yggdrasil.training.batches import Samples, batches
from yggdrasil.training.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from yggdrasil.training.settings import TrainingSettings

__all__ = ["StepReport", "Trainer", "TrainingObserver", "check_factors"]

_FREE_SETTINGS = ("checkpoint_every", "checkpoints_kept", "log_every")
"""Settings that a run may change when it resumes: no number depends on them."""

_ENDLESS_SCHEDULES = ("constant", "constant_with_warmup")
"""Schedules that do not depend on how many steps there are."""

LossFunction = Callable[[Mapping[str, Any], torch.Generator], Tensor]


class StepReport(dict[str, float]):
    """Figures of one step by name: ``step``, ``loss``, ``lr``, ``grad_norm``, ``seconds``."""


class TrainingObserver(Protocol):
    """Someone who is told how training goes."""

    def on_step(self, report: StepReport) -> None:
        """Is told that a step is done."""


class Trainer:
    """Makes a loss small.

    Every draw of a step comes from a generator that seed and step decide, so a run that resumes
    sees what it would have seen.

    Args:
        loss: From a batch and the step's generator to a scalar.
        modules: The trained modules by node name.
        settings: The run.
        folder: Where checkpoints and ``metrics.jsonl`` go.
    """

    def __init__(
        self,
        loss: LossFunction,
        modules: Mapping[str, nn.Module],
        settings: TrainingSettings,
        folder: Path,
    ) -> None:
        check_factors(settings, modules)
        self._loss = loss
        self._settings = settings
        self._folder = folder
        # The precision is not told to Accelerate, which has one for the whole process: the phases
        # of a recipe may differ.
        self._accelerator = Accelerator()
        self._modules = dict(modules)
        self.parameters: dict[str, nn.Parameter] = {
            f"{node}.{name}": parameter
            for node, module in modules.items()
            for name, parameter in module.named_parameters()
        }
        for module in modules.values():
            module.to(self.device).requires_grad_(requires_grad=True)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": list(module.parameters()),
                    "lr": settings.optimizer.lr * settings.optimizer.lr_factors.get(node, 1.0),
                }
                for node, module in modules.items()
            ],
            betas=settings.optimizer.betas,
            weight_decay=settings.optimizer.weight_decay,
            eps=settings.optimizer.eps,
        )
        schedule = get_scheduler(
            settings.schedule.name,
            optimizer,
            num_warmup_steps=settings.schedule.warmup_steps,
            num_training_steps=settings.steps,
        )
        self._optimizer = self._accelerator.prepare(optimizer)
        self._schedule = schedule
        self._average = (
            EMAModel(list(self.parameters.values()), decay=settings.ema.decay)
            if settings.ema is not None
            else None
        )
        self.step = 0
        self._seconds = 0.0

    @property
    def device(self) -> torch.device:
        """Where the trained modules are, and batches are brought."""
        device: torch.device = self._accelerator.device
        return device

    def resume(self) -> bool:
        """Goes back to the latest checkpoint; says whether there was one.

        Raises:
            ModelError: It is damaged, or of other parameters.
            ConfigError: It is of a run with other settings.
        """
        path = latest_checkpoint(self._folder)
        if path is None:
            return False
        checkpoint = read_checkpoint(path)
        self._check_settings(path, checkpoint)
        self._restore_weights(path, checkpoint)
        self._optimizer.load_state_dict(_unpack(self._optimizer.state_dict(), checkpoint))
        # The functions are those of the settings; a checkpoint holds none.
        functions = [None] * len(self._optimizer.param_groups)
        self._schedule.load_state_dict({**checkpoint.state["schedule"], "lr_lambdas": functions})
        self._restore_average(checkpoint)
        torch.set_rng_state(checkpoint.random)
        self.step = checkpoint.step
        self._seconds = float(checkpoint.state["seconds"])
        return True

    def fit(
        self,
        samples: Samples,
        *,
        observers: tuple[TrainingObserver, ...] = (),
        until: int | None = None,
    ) -> None:
        """Trains to the last step, or to an earlier one.

        Args:
            samples: The data.
            observers: Who is told of each step.
            until: Stop after this many steps in all; a later call goes on.

        Raises:
            ConfigError: There are no samples.
            ModelError: The loss or its gradient is no finite number.
        """
        settings = self._settings
        last = settings.steps if until is None else min(settings.steps, until)
        if not len(samples):
            raise ConfigError("The dataset has no samples: give at least one.")
        for module in self._modules.values():
            module.train()
        try:
            self._take_steps(samples, observers, last)
        finally:
            for module in self._modules.values():
                module.eval()

    def _take_steps(
        self, samples: Samples, observers: tuple[TrainingObserver, ...], last: int
    ) -> None:
        settings = self._settings
        self._folder.mkdir(parents=True, exist_ok=True)
        stream = batches(
            samples,
            batch_size=settings.batch_size,
            seed=settings.seed,
            first_step=self.step,
            steps=last,
        )
        with (self._folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
            for batch in stream:
                report = self._take_step(batch)
                if self.step % settings.log_every == 0 or self.step == last:
                    log.write(json.dumps(report) + "\n")
                    log.flush()
                for observer in observers:
                    observer.on_step(report)
                if self.step % settings.checkpoint_every == 0 or self.step == last:
                    self.save()

    def save(self) -> Path:
        """Writes a checkpoint."""
        average = None
        state: dict[str, Any] = {
            "schedule": _plain(self._schedule.state_dict()),
            "seconds": self._seconds,
            "settings": self._settings.model_dump(mode="json"),
        }
        if self._average is not None:
            average = dict(zip(self.parameters, self._average.shadow_params, strict=True))
            state["average"] = {"optimization_step": self._average.optimization_step}
        checkpoint = Checkpoint(
            step=self.step,
            weights=self.parameters,
            average=average,
            optimizer=_pack(self._optimizer.state_dict()),
            state=state,
            random=torch.get_rng_state(),
        )
        return write_checkpoint(self._folder, checkpoint, keep=self._settings.checkpoints_kept)

    def use_average(self) -> None:
        """Puts the moving average in the place of the weights."""
        if self._average is not None:
            self._average.copy_to(list(self.parameters.values()))

    def swap_in_average(self) -> Callable[[], None]:
        """Puts the moving average in for a while; call what it gives to have the weights back."""
        if self._average is None:
            return lambda: None
        parameters = list(self.parameters.values())
        self._average.store(parameters)
        self._average.copy_to(parameters)
        return lambda: self._average.restore(parameters)  # type: ignore[union-attr] # checked above

    def _take_step(self, batch: Mapping[str, Any]) -> StepReport:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(
            (self._settings.seed * 1_000_003 + self.step) % 2**63
        )
        here = {
            name: value.to(self.device) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
        bf16 = self._settings.precision == "bf16"
        with _attention(self._settings.attention):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                loss = self._loss(here, generator)
            self._check_finite("loss", loss)
            self._accelerator.backward(loss)
        # An infinite bound clips nothing, and the norm is worth knowing.
        bound = self._settings.max_grad_norm or math.inf
        norm = self._accelerator.clip_grad_norm_(list(self.parameters.values()), bound)
        self._check_finite("gradient's norm", norm)
        lr = self._schedule.get_last_lr()[0]
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        if self._average is not None:
            self._average.step(list(self.parameters.values()))
        self.step += 1
        self._seconds += time.perf_counter() - start
        return StepReport(
            step=self.step,
            loss=loss.item(),
            lr=lr,
            grad_norm=float(norm),
            seconds=round(self._seconds, 3),
        )

    def _check_finite(self, what: str, value: Tensor) -> None:
        """Stops a run before it spoils weights that a checkpoint would then hold."""
        if not torch.isfinite(value):
            raise ModelError(
                f"The {what} of step {self.step + 1} is {value.item()}. Lower the learning rate "
                f"({self._settings.optimizer.lr}), or clip gradients; the latest checkpoint in "
                f"{self._folder} is whole."
            )

    def _check_settings(self, path: Path, checkpoint: Checkpoint) -> None:
        """Refuses to go on with what would be neither the one run nor the other."""
        try:
            # Settings that are younger than the checkpoint have their defaults.
            saved = TrainingSettings.model_validate(checkpoint.state["settings"])
        except (KeyError, ValidationError) as error:
            raise ModelError(
                f"The settings in {path} are none that this version reads: {error}. Use another "
                "folder for this run."
            ) from error
        mine = self._settings
        free = set(_FREE_SETTINGS)
        if mine.schedule.name in _ENDLESS_SCHEDULES:
            free.add("steps")
        if saved.ema is None:  # weights do not depend on the average, so it may begin later
            free.add("ema")
        differing = list(
            _differences(
                saved.model_dump(mode="json", exclude=free),
                mine.model_dump(mode="json", exclude=free),
            )
        )
        if differing:
            raise ConfigError(
                f"{path} is of a run with other settings: {'; '.join(differing)}. Use another "
                "folder for this run, or the old settings to go on."
            )

    def _restore_average(self, checkpoint: Checkpoint) -> None:
        if self._average is None:
            return
        if checkpoint.average is None:  # it is wanted from here on
            shadows = [parameter.detach().clone() for parameter in self.parameters.values()]
        else:
            state = checkpoint.state["average"]
            self._average.optimization_step = int(state["optimization_step"])
            shadows = [checkpoint.average[name].to(self.device) for name in self.parameters]
        self._average.shadow_params = shadows

    def _restore_weights(self, path: Path, checkpoint: Checkpoint) -> None:
        mine, saved = set(self.parameters), set(checkpoint.weights)
        if mine != saved:
            raise ModelError(
                f"{path} holds other parameters than this run trains: {len(saved - mine)} that are "
                f"not trained, {len(mine - saved)} that it lacks, such as "
                f"{min(mine ^ saved)!r}. Use another folder for another run."
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(checkpoint.weights[name])


def _differences(
    saved: Mapping[str, Any], mine: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Gives the settings that are not the same, each with both values."""
    for name in dict.fromkeys((*saved, *mine)):
        old, new = saved.get(name), mine.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name} is {old!r} there, {new!r} here"


def _attention(kernel: str) -> contextlib.AbstractContextManager[None]:
    return sdpa_kernel(SDPBackend.MATH) if kernel == "math" else contextlib.nullcontext()


def check_factors(settings: TrainingSettings, nodes: Collection[str]) -> None:
    """Refuses factors on the learning rate of nodes that are not trained.

    Raises:
        ConfigError: There is one.
    """
    unknown = sorted(set(settings.optimizer.lr_factors) - set(nodes))
    if unknown:
        raise ConfigError(
            f"optimizer.lr_factors names {unknown[0]!r}, which is not trained."
            f"{nearest(unknown[0], nodes)}"
        )


def _pack(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Gives an optimizer's state as flat tensors."""
    return {
        f"{number}/{name}": torch.as_tensor(value)
        for number, values in state["state"].items()
        for name, value in values.items()
    }


def _unpack(fresh: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """Gives an optimizer's state from flat tensors; hyperparameters are those of the schedule."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in checkpoint.optimizer.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value
    rates = checkpoint.state["schedule"]["_last_lr"]
    groups = [
        {**group, "lr": rate} for group, rate in zip(fresh["param_groups"], rates, strict=True)
    ]
    return {"state": state, "param_groups": groups}


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps what JSON can hold: the schedule's functions are made anew by the settings."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, bool | int | float | str)
        or (isinstance(value, list) and all(isinstance(each, int | float) for each in value))
    }

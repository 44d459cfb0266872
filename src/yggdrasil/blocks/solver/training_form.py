"""What a model is trained on: the forms that the solvers of a family share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from diffusers import DDPMScheduler
from torch import Tensor

from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.blocks.solver.shell import noised, open_shell, read_shell
from yggdrasil.core.errors import ConfigError, nearest

__all__ = ["FlowForm", "TrainingForm", "VariancePreservingForm"]

_PREDICTIONS = ("epsilon", "sample", "v_prediction")


class TrainingForm(Protocol):
    """A noise schedule's corruption and target."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Reads the schedule from the configuration of a solver's scheduler."""

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Noises latents ``b c h w`` to timesteps ``b``."""
        ...

    def target(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Gives what the model should answer, ``b c h w``."""
        ...


class VariancePreservingForm:
    """The form of models that predict noise, latents or velocity.

    A schedule of sigmas (Euler) is the same process in another scale, but models read, and are
    trained on, the variance-preserving one.

    Args:
        config: Of the solver's scheduler; the parameters of its noise schedule are read.

    Raises:
        ConfigError: The scheduler has no such form.

    Source:
        Ho et al. 2020 (arXiv:2006.11239), equation 4; the velocity: Salimans and Ho 2022
        (arXiv:2202.00512), appendix D.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        known = constructor_defaults(DDPMScheduler)
        try:
            scheduler = DDPMScheduler(**{k: v for k, v in config.items() if k in known})
        except (NotImplementedError, ValueError) as error:
            raise ConfigError(f"This noise schedule has no form to train on: {error}") from error
        self._prediction = str(scheduler.config.prediction_type)
        if self._prediction not in _PREDICTIONS:
            raise ConfigError(
                f"prediction_type is {self._prediction!r}, which the variance-preserving form does "
                f"not have.{nearest(self._prediction, _PREDICTIONS)}"
            )
        self._record = read_shell(scheduler)

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Noises latents ``b c h w`` to timesteps ``b``."""
        return noised(open_shell(DDPMScheduler, self._record), latents, noise, timestep)

    def target(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Gives what the model should answer: noise, latents or velocity, ``b c h w``."""
        if self._prediction == "epsilon":
            return noise
        if self._prediction == "sample":
            return latents
        scheduler: Any = open_shell(DDPMScheduler, self._record)
        velocity: Tensor = scheduler.get_velocity(latents, noise, timestep)
        return velocity


class FlowForm:
    """The form of models that predict the flow from latents to noise.

    A timestep is a noise level, in the unit of the model's training. A shift of the schedule says
    which timesteps are visited, not what they mean, so none is read here.

    Args:
        config: Of the solver's scheduler; ``num_train_timesteps`` is read.

    Source:
        Lipman et al. 2023 (arXiv:2210.02747), straight paths; time runs from latents to noise as
        in Esser et al. 2024 (arXiv:2403.03206), section 3.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._count = float(config["num_train_timesteps"])

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Goes from latents ``b c h w`` as far towards the noise as timesteps ``b`` say."""
        level = (timestep / self._count).to(device=latents.device, dtype=latents.dtype)
        level = level.view(-1, *(1,) * (latents.ndim - 1))
        return level * noise + (1.0 - level) * latents

    def target(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Gives the flow ``b c h w``, which is the same at every timestep."""
        del timestep
        return noise - latents

"""The matrices of a LoRA as parameters of its own: made, trained, saved."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn

from yggdrasil.blocks.adapter.grafts import Graft, check_bare
from yggdrasil.blocks.adapter.lora_families import Family
from yggdrasil.blocks.adapter.lora_file import USUAL_NAMES, Held, is_peft, read_shapes
from yggdrasil.blocks.adapter.lora_part import LoraPart
from yggdrasil.blocks.checks import check_choice
from yggdrasil.core.errors import ConfigError

__all__ = ["FactorStore", "LayerNames"]

LayerNames = Sequence[str] | Mapping[str, Sequence[str]] | None

_INITS: Mapping[str, Any] = {"kaiming": True, "gaussian": "gaussian"}
"""How PEFT calls the draws; of others it would read the weights of the model."""

_FACTORS = ("lora_A", "lora_B")
_NAME = "adapter_0"


class FactorStore(nn.Module):
    """A block that may have the matrices of a LoRA among its parameters.

    A parameter is called ``component/layer/lora_A``, with ``/`` for the points in a layer's name,
    since the names of parameters have none.
    """

    _parameters: dict[str, nn.Parameter | None]

    def _use_factors(
        self, *, rank: int, alpha: float | None, layers: LayerNames, init: str, seed: int
    ) -> None:
        check_choice("init", init, _INITS)
        self._rank = rank
        self._alpha = rank if alpha is None else alpha
        self._ends = layers
        self._init = init
        self._seed = seed
        self._configs: dict[str, dict[str, Any]] = {}

    def factors(self) -> Mapping[str, nn.Parameter | None]:
        """Gives the matrices that are parameters of the block, by their names."""
        return self._parameters

    def factors_of(self, component: str) -> dict[tuple[str, str], nn.Parameter]:
        """Gives the matrices of a component, by layer and which of the two they are."""
        found: dict[tuple[str, str], nn.Parameter] = {}
        for name, parameter in self._parameters.items():
            folder, _, rest = name.partition("/")
            if folder == component and parameter is not None:
                layer, _, factor = rest.rpartition("/")
                found[layer.replace("/", "."), factor] = parameter
        return found

    def forget_factors(self) -> None:
        """Takes the parameters away."""
        self._parameters.clear()
        self._configs.clear()

    def add_factors(
        self, component: str, model: nn.Module, part: LoraPart | None, family: Family
    ) -> None:
        """Makes the matrices for a component.

        Args:
            component: Which.
            model: It.
            part: What the matrices begin as; fresh ones where there is none.
            family: For the layers that are changed unless told.

        Raises:
            ConfigError: No layer is called as asked.
        """
        check_bare(model, component)
        if part is None:
            ends = self._ends_for(component, family)
            if not ends:
                return
            graft = self._fresh(component, model, ends)
        else:
            graft = Graft(model, lambda bare: part.install(bare, _NAME))
        for layer, module in graft.layers.items():
            for factor in _FACTORS:
                held: Any = getattr(module, factor)
                name = f"{component}/{layer.replace('.', '/')}/{factor}"
                self.register_parameter(name, held[_NAME].weight)
        self._configs[component] = _plain(graft.config(_NAME))

    def _ends_for(self, component: str, family: Family) -> Sequence[str]:
        if isinstance(self._ends, Mapping):
            return self._ends.get(component, ())
        if component != family.folder:
            return ()
        return family.layers if self._ends is None else self._ends

    def _fresh(self, component: str, model: Any, ends: Sequence[str]) -> Graft:
        names = [name for name, _ in model.named_modules()]
        for end in ends:
            if not any(name == end or name.endswith(f".{end}") for name in names):
                raise ConfigError(
                    f"layers names {end!r}, which no layer of {component!r} "
                    f"({type(model).__name__}) is called: give ends of names such as "
                    f"{', '.join(repr(name) for name in names[-3:])}."
                )
        config = LoraConfig(
            r=self._rank,
            lora_alpha=self._alpha,
            target_modules=list(ends),
            init_lora_weights=_INITS[self._init],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            return Graft(model, lambda bare: bare.add_adapter(config, _NAME))  # type: ignore[operator] # its method

    def parts_of_factors(self, family: Family) -> dict[str, LoraPart]:
        """Gives the parts of a LoRA that comes from no file, by component."""
        parts = {}
        for component in family.components:
            factors = self.factors_of(component)
            if factors:
                state = {
                    f"{component}.{layer}.{factor}.weight": parameter.detach()
                    for (layer, factor), parameter in factors.items()
                }
                told = {f"{component}.{key}": each for key, each in self._told(factors).items()}
                parts[component] = LoraPart(component, state, None, told, "the LoRA", "", family)
        return parts

    def _told(self, factors: Mapping[tuple[str, str], Tensor]) -> dict[str, Any]:
        """Gives the configuration of fresh factors."""
        layers = list(dict.fromkeys(layer for layer, _ in factors))
        return {"r": self._rank, "lora_alpha": self._alpha, "target_modules": layers}

    def write_factors(
        self, folder: Path, parts: Mapping[str, LoraPart], held: Held | None, family: Family
    ) -> Path:
        """Writes the LoRA in Diffusers' layout.

        Args:
            folder: Made if it does not exist.
            parts: What it is made of.
            held: What they were read from.
            family: Whose.

        Raises:
            ConfigError: There is nothing to write.
        """
        if not parts:
            raise ConfigError("The LoRA is fresh and was never trained: there is nothing to save.")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / USUAL_NAMES[0]
        if not self._parameters:
            if isinstance(held, Path) and held.resolve() == target.resolve():
                return target
            if held is not None and not is_peft(read_shapes(held)):
                _write(held, target)
                return target
            # Diffusers reads its own layout only, with PEFT's configuration in the file itself.
            family.loader.save_lora_weights(folder, **_of_peft(parts))
            return target
        options: dict[str, Any] = {}
        for component in parts:
            factors = self.factors_of(component)
            if component not in self._configs and parts[component].alphas:
                raise ConfigError(
                    "What the LoRA's matrices are scaled by is in the file that it was trained "
                    "from; save it in the process that trained it."
                )
            options[f"{component}_lora_layers"] = {
                f"{layer}.{factor}.weight": parameter.detach()
                for (layer, factor), parameter in factors.items()
            }
            options[f"{component}_lora_adapter_metadata"] = self._configs.get(
                component, self._told(factors)
            )
        family.loader.save_lora_weights(folder, **options)
        return target

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Makes the parameters that a saved state has, since none are there before training."""
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            own = key.startswith(prefix) and name.endswith(_FACTORS)
            if own and name not in {*self._parameters, *self._buffers}:
                self.register_parameter(name, nn.Parameter(value.clone()))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _write(held: Held, target: Path) -> None:
    """Writes what a file or a mapping holds as it is."""
    if isinstance(held, Path):
        shutil.copyfile(held, target)
    else:
        save_file({name: each.cpu().contiguous().clone() for name, each in held.items()}, target)


def _of_peft(parts: Mapping[str, LoraPart]) -> dict[str, Any]:
    """Gives what Diffusers' ``save_lora_weights`` writes of a LoRA that PEFT saved."""
    options: dict[str, Any] = {}
    for component, part in parts.items():
        prefix = f"{component}."
        options[f"{component}_lora_layers"] = {
            key.removeprefix(prefix): value for key, value in part.state.items()
        }
        if part.metadata is not None:
            options[f"{component}_lora_adapter_metadata"] = {
                key.removeprefix(prefix): value for key, value in part.metadata.items()
            }
    return options


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives a configuration of PEFT as JSON takes it."""
    return {key: sorted(each) if isinstance(each, set) else each for key, each in config.items()}

"""PEFT's layers over a model's own: put in their place for a run, and taken out again.

Diffusers and PEFT put their layers into a model and switch them on and off there. That would leave
the model changed for whoever shares it: other names in its weights, other cache keys, other code in
each layer. Here they are put in once, to be made, and taken out at once. From then on a run sets
them in their places, which is some hundred assignments, and puts the model's own layers back in the
end: the very objects, so that the bits of before need no proof.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from diffusers.loaders.lora_base import set_adapters_for_text_encoder
from torch import Tensor, nn

from yggdrasil.core.errors import InputError

__all__ = ["Graft", "check_bare"]

_ABSENT = object()


def check_bare(model: nn.Module, what: str) -> None:
    """Refuses a model that somebody else put PEFT's layers into.

    Args:
        model: What is to be changed.
        what: Its name, for the message.

    Raises:
        InputError: It carries adapters.
    """
    held = getattr(model, "peft_config", None)
    if held:
        raise InputError(
            f"{what!r} carries the adapters {', '.join(map(repr, held))}, which were loaded into "
            "the model itself. Take them off (unload_lora_weights()) or fuse them there, and add "
            "them as adapter/lora nodes; or leave the nodes out, and they stay as they are."
        )


class Graft:
    """The layers of adapters for one model.

    Args:
        model: The model; it is left as it was.
        install: Puts the adapters into it, as Diffusers does.
    """

    def __init__(self, model: nn.Module, install: Callable[[nn.Module], None]) -> None:
        self._model = model
        before = [(parent, dict(parent._modules)) for parent in model.modules()]  # noqa: SLF001
        attributes = dict(vars(model))
        wants_gradient = [(each, each.requires_grad) for each in model.parameters()]
        try:
            with _own_draws(model):
                install(model)
        finally:
            self._swaps = [
                (parent, name, own, parent._modules[name])  # noqa: SLF001 - where layers are kept
                for parent, children in before
                for name, own in children.items()
                if own is not None and parent._modules[name] is not own  # noqa: SLF001
            ]
            self._attributes = _changed(attributes, vars(model))
            self._lift()
            # PEFT freezes the model that it changes.
            for parameter, flag in wants_gradient:
                parameter.requires_grad_(flag)
        for _, _, own, layer in self._swaps:
            if layer is not None:
                # Or what training left out at random is left out of pictures, as in Diffusers.
                layer.train(own.training)
        self._stamps = [_stamp(own) for _, _, own, _ in self._swaps]
        self.layers: dict[str, nn.Module] = self._named()

    @property
    def factors(self) -> list[nn.Parameter]:
        """The parameters that the adapters brought."""
        return [
            parameter
            for layer in self.layers.values()
            for name, parameter in layer.named_parameters()
            if not name.startswith("base_layer.")
        ]

    def config(self, name: str) -> dict[str, Any]:
        """Gives PEFT's configuration of an adapter.

        Args:
            name: The adapter.
        """
        _, held = self._attributes["peft_config"]
        told: dict[str, Any] = held[name].to_dict()
        return told

    def touches(self, layers: AbstractSet[nn.Module]) -> bool:
        """Says whether it has layers for some of the model's own.

        Args:
            layers: Those.
        """
        return any(own in layers for _, _, own, _ in self._swaps)

    def holds(self) -> bool:
        """Says whether the model's own layers are where they were, on the same device and dtype."""
        return all(
            parent._modules.get(name) is own and _stamp(own) == stamp  # noqa: SLF001
            for (parent, name, own, _), stamp in zip(self._swaps, self._stamps, strict=True)
        )

    @contextlib.contextmanager
    def on(
        self,
        names: Sequence[str],
        scales: Sequence[Any],
        *,
        but: AbstractSet[nn.Module] = frozenset(),
    ) -> Iterator[None]:
        """Puts the layers in for as long as the context is open.

        Args:
            names: The adapters that are to act, in order.
            scales: For each a number, or a mapping by block as Diffusers takes it.
            but: Layers of the model's own that stay in their places.
        """
        attributes = vars(self._model)
        try:  # whatever breaks in, an interrupt by the user too
            for parent, name, _, layer in self._swaps:
                parent._modules[name] = layer  # noqa: SLF001 - see above
            attributes.update({name: new for name, (_, new) in self._attributes.items()})
            self._scale(list(names), list(scales))
            for parent, name, own, _ in self._swaps:
                if own in but:
                    parent._modules[name] = own  # noqa: SLF001 - see above
            yield
        finally:
            self._lift()

    def _scale(self, names: list[str], scales: list[Any]) -> None:
        flags = [(each, each.requires_grad) for each in self.factors]
        try:
            if hasattr(self._model, "load_lora_adapter"):  # a model of Diffusers
                self._model.set_adapters(names, scales)  # type: ignore[operator] # its method
            else:
                set_adapters_for_text_encoder(names, self._model, scales)
        except (IndexError, ValueError) as error:
            raise InputError(
                f"{scales} cannot be the scales of LoRAs by block in {type(self._model).__name__}: "
                f"{type(error).__name__}: {error}. Name blocks so that each changed layer is in "
                "one of them, such as 'transformer_blocks'; of a UNet, 'down', 'mid' and 'up'."
            ) from error
        for parameter, flag in flags:  # PEFT has what acts learn
            parameter.requires_grad_(flag)

    def _lift(self) -> None:
        attributes = vars(self._model)
        for parent, name, own, _ in self._swaps:
            parent._modules[name] = own  # noqa: SLF001 - see above
        for name, (old, _) in self._attributes.items():
            if old is _ABSENT:
                attributes.pop(name, None)
            else:
                attributes[name] = old

    def _named(self) -> dict[str, nn.Module]:
        """Gives the layers that were put in by the names of those that they stand for."""
        own = {id(each): layer for _, _, each, layer in self._swaps if layer is not None}
        return {
            name: own[id(module)]
            for name, module in self._model.named_modules()
            if id(module) in own
        }


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Gives the attributes that are others now: what each was, and what it is."""
    return {
        name: (before.get(name, _ABSENT), value)
        for name, value in after.items()
        if before.get(name, _ABSENT) is not value
    }


def _own_draws(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Keeps PyTorch's global generators: PEFT draws factors, which the file's then replace."""
    devices = {each.device for each in model.parameters() if each.device.type == "cuda"}
    return torch.random.fork_rng(sorted(device.index for device in devices))


def _stamp(layer: nn.Module | None) -> tuple[torch.device, torch.dtype] | None:
    weight = getattr(layer, "weight", None)
    return (weight.device, weight.dtype) if isinstance(weight, Tensor) else None

"""What every loaded component goes through, wherever its weights come from."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import nn

from yggdrasil.core.errors import ModelError

__all__ = ["LOADING", "REFUSALS", "config_names", "put_right", "refuse_lost", "settle", "told"]

LOADING = threading.Lock()
"""Diffusers makes a model without weights by replacing torch's constructors for a while, for all
threads: two models loading at once would take each other's."""

REFUSALS = (TypeError, ValueError, LookupError, RuntimeError, StrictDataclassError)
"""What Diffusers and transformers raise where files or configurations do not fit."""

_ALIGNMENT = 64


@functools.cache
def config_names(cls: type) -> frozenset[str]:
    """Gives the names that a class's configuration may hold."""
    if hasattr(cls, "load_config"):
        return frozenset(inspect.signature(cls).parameters)
    model: Any = cls
    return frozenset(model.config_class().to_dict())


def put_right(component: Any, values: Mapping[str, Any]) -> None:
    """Changes values of a loaded component's configuration.

    Args:
        component: Of Diffusers.
        values: By name; those that its class does not have are left out.
    """
    if values:
        cls: type = type(component)
        known = config_names(cls)
        component.register_to_config(**{k: v for k, v in values.items() if k in known})


def refuse_lost(module: nn.Module, lost: Iterable[str], where: object) -> None:
    """Refuses weights that leave something of a model to chance.

    Args:
        module: The model.
        lost: Names of its tensors that the weights lack.
        where: The weights, for the message.

    Raises:
        ModelError: There are some.
    """
    names = sorted(lost)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelError(
            f"The weights in {where} lack {names[0]!r}{more} of {type(module).__name__}. Copy or "
            "download the model again, or compare its config.json with its weights."
        )


def told(error: BaseException) -> str:
    """Says what a library raised; lookups name the key alone, so their class goes before it."""
    return f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)


def settle(module: nn.Module) -> nn.Module:
    """Puts a loaded model into evaluation mode and its weights where they always lie.

    Weights that are views of a mapped file start at odd addresses, and kernels that align
    differently give other last bits: the same model would differ from itself once it is saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()
    return module.eval()

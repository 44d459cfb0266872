"""Devices: which there are, and what to say where one is missing."""

from __future__ import annotations

from typing import Any

import torch

from yggdrasil.core.errors import ConfigError, nearest

__all__ = ["accelerator", "checked_device"]

_KINDS = ("cpu", "cuda", "mps", "xpu", "npu", "hpu", "meta")


def checked_device(device: object) -> torch.device:
    """Gives a device, if this machine has it.

    Args:
        device: Such as ``cuda:0``.

    Raises:
        ConfigError: There is no such kind of device, or this machine has none of it.
    """
    try:
        found: torch.device = torch.device(device)  # type: ignore[call-overload] # or it refuses
    except (RuntimeError, TypeError) as error:
        kind = str(device).partition(":")[0]
        raise ConfigError(
            f"{device!r} is no device of PyTorch's.{nearest(kind, _KINDS)} Give one such as "
            "cuda:0 or cpu."
        ) from error
    if found.type in ("cpu", "meta"):
        return found
    backend: Any = getattr(torch, found.type, None)
    if backend is None or not backend.is_available():
        raise ConfigError(f"{found} is not there: {_seen()} Use device='cpu' here.")
    count = backend.device_count()
    if (found.index or 0) >= count:
        raise ConfigError(
            f"{found} is not there: PyTorch sees {count} of that kind, counted from 0. Give "
            f"{found.type}:{count - 1} or a lower one."
        )
    return found


def accelerator(device: object, index: int | None, what: str) -> torch.device:
    """Gives the device that models are brought to for a call.

    Args:
        device: As given; the machine's own if None.
        index: Its number, where the device says none.
        what: The method that wants it, for the message.

    Raises:
        ConfigError: The machine has none; or the number is said twice.
    """
    if device is None:
        current = torch.accelerator.current_accelerator()
        if current is None or not torch.accelerator.is_available():
            raise ConfigError(
                f"{what} brings models to an accelerator when they are wanted: {_seen()} Run "
                f"without it here; {what}(device='cpu') goes through the same motions."
            )
        device = current
    found = checked_device(device)
    if index is None:
        return found
    if found.index is not None:
        raise ConfigError(
            f"{what}: gpu_id is {index} and the device {found}, which says a number too: give one."
        )
    return checked_device(f"{found.type}:{index}")


def _seen() -> str:
    """Says what PyTorch sees on this machine."""
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    return (
        f"PyTorch {torch.__version__} (built with {built}) sees no such accelerator on this "
        "machine. With a GPU in it, install its driver and a PyTorch built for it "
        "(https://pytorch.org/get-started)."
    )

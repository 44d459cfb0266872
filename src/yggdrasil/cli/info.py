"""``yggdrasil info``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import psutil
import torch
from rich.markup import escape
from rich.table import Table

import yggdrasil
from yggdrasil.cli.output import print_json, print_table
from yggdrasil.hub.inventory import HubCache, StoredModel, hub_cache, zoo
from yggdrasil.pipelines.units import in_bytes

__all__ = ["gather", "run"]

_PACKAGES = (
    "torch", "diffusers", "transformers", "accelerate", "peft", "huggingface_hub", "safetensors",
    "numpy", "pillow",
)  # fmt: skip


def run(*, json: bool) -> None:
    """Prints what a report of a fault should say: versions, devices, memory, models."""
    found = gather()
    if json:
        print_json(found)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for section, rows in _sections(found).items():
        for place, row in enumerate(rows or ["none"]):
            table.add_row("" if place else section, escape(row))
    print_table(table)


def gather() -> dict[str, Any]:
    """Gives all of it as plain data; sizes are in bytes."""
    memory = psutil.virtual_memory()
    return {
        "versions": {"yggdrasil": yggdrasil.__version__, **_versions()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "memory": {"total": memory.total, "available": memory.available},
        "devices": [*_accelerators(), _cpu()],
        "hub_cache": _plain_cache(hub_cache()),
        "zoo": [_plain(model) for model in zoo()],
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _cpu() -> dict[str, Any]:
    return {
        "device": "cpu",
        "name": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _accelerators() -> list[dict[str, Any]]:
    if torch.cuda.is_available():
        devices = []
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            device = {"device": f"cuda:{number}", "name": name}
            devices.append({**device, "memory_total": total, "memory_free": free})
        return devices
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return []
    return [{"device": accelerator.type, "name": accelerator.type}]


def _plain(model: StoredModel) -> dict[str, Any]:
    return {"name": model.name, "path": model.path, "size": model.size}


def _plain_cache(cache: HubCache) -> dict[str, Any]:
    return {"path": cache.path, "size": cache.size, "models": list(map(_plain, cache.models))}


def _sections(found: dict[str, Any]) -> dict[str, list[str]]:
    """Gives the lines that people read."""
    memory, cache = found["memory"], found["hub_cache"]
    lines = [f"{in_bytes(cache['size'])} in {cache['path']}", *map(_line, cache["models"])]
    return {
        "versions": [
            f"{name} {version or 'not installed'}" for name, version in found["versions"].items()
        ],
        "python": [f"{found['python']} on {found['platform']}"],
        "memory": [f"{in_bytes(memory['available'])} free of {in_bytes(memory['total'])}"],
        "devices": [_device_line(each) for each in found["devices"]],
        "hub cache": lines,
        "zoo": [_line(each) for each in found["zoo"]],
    }


def _line(model: dict[str, Any]) -> str:
    return f"{model['name']}  {in_bytes(model['size'])}"


def _device_line(device: dict[str, Any]) -> str:
    told = f"{device['device']}  {device['name']}"
    if "memory_total" in device:
        free, total = in_bytes(device["memory_free"]), in_bytes(device["memory_total"])
        return f"{told}, {free} free of {total}"
    if "cores" in device:
        return f"{told}, {device['cores']} cores, of which PyTorch uses {device['threads']}"
    return told

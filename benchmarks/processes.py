"""What can only be measured in processes of their own: imports and peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from tests.tiny_models import tiny_pipeline
from yggdrasil.pipelines.comparison.ours import find_out
from yggdrasil.pipelines.comparison.peak import peak_of
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.comparison.spread import Spread

__all__ = ["IMPORTS", "WIDTHS", "measure_imports", "measure_memory"]

WIDTHS = (32, 192)
"""The narrow model is nearly nothing beside the libraries, the wide one as much as they are."""

IMPORTS = {
    "yggdrasil": "import yggdrasil",
    "pipeline": "from yggdrasil import InferencePipeline",
    "diffusers": "from diffusers import StableDiffusionPipeline",
}
_TIMED = "import time; start = time.process_time(); {}; print(time.process_time() - start)"


def measure_imports(
    times: int, tell: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, Any]]:
    """Measures imports in new processes, in turn.

    Args:
        times: How often each.
        tell: Is told what is measured now.

    Returns:
        For each of ``IMPORTS`` its statement and the processor seconds it takes; ``ratio`` is how
        often ``import yggdrasil`` fits into the import from Diffusers.
    """
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(-1, times):
        for name, statement in IMPORTS.items():
            tell(f"{statement}, {max(number, 0)}")
            printed = subprocess.run(
                [sys.executable, "-c", _TIMED.format(statement)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            if number >= 0:  # the first ones write compiled files and fill the disk's cache
                seconds[name].append(float(printed.splitlines()[-1]))
    found: dict[str, dict[str, Any]] = {
        name: {"statement": statement, "processor_seconds": asdict(Spread.of(seconds[name]))}
        for name, statement in IMPORTS.items()
    }
    found["ratio"] = asdict(Spread.of_ratios(seconds["diffusers"], seconds["yggdrasil"]))
    return found


def measure_memory(
    times: int, tell: Callable[[str], None] = lambda _: None, widths: tuple[int, ...] = WIDTHS
) -> list[dict[str, Any]]:
    """Measures the peak of resident memory of a process that opens a model and makes a picture.

    Args:
        times: How often each side, in turn.
        tell: Is told what is measured now.
        widths: Of the UNets, in channels.

    Returns:
        For each model its millions of parameters, the bytes of both sides, and their ratio pair by
        pair.
    """
    return [_memory_of(width, times, tell) for width in widths]


def _memory_of(width: int, times: int, tell: Callable[[str], None]) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        pipe = tiny_pipeline("sd15")
        pipe.unet = _unet(width)
        pipe.save_pretrained(model)
        count = sum(each.numel() for each in pipe.unet.parameters())
        del pipe
        job = find_out(Request(model=str(model), prompt="a photo", steps=4))
        for number in range(times):
            tell(f"{width} channels, {number}")
            taken["ours"].append(peak_of("ours", job))
            taken["theirs"].append(peak_of("theirs", job))
    return {
        "millions": count / 1e6,
        "yggdrasil_bytes": asdict(Spread.of(taken["ours"])),
        "diffusers_bytes": asdict(Spread.of(taken["theirs"])),
        "ratio": asdict(Spread.of_ratios(taken["ours"], taken["theirs"])),
    }


def _unet(width: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(width, 2 * width, 4 * width),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )

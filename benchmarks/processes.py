"""What can only be measured in processes of their own: imports and peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.tiny_models import tiny_pipeline
from yggdrasil.pipelines.comparison.ours import find_out
from yggdrasil.pipelines.comparison.peak import peak_of
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.comparison.spread import Spread

__all__ = ["IMPORTS", "measure_imports", "measure_memory"]

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


def measure_memory(times: int, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measures the peak of resident memory of a process that opens a model and makes a picture.

    Args:
        times: How often each side, in turn.
        tell: Is told what is measured now.

    Returns:
        Bytes of both sides, and their ratio pair by pair.
    """
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tiny"
        tiny_pipeline("sd15").save_pretrained(model)
        job = find_out(Request(model=str(model), prompt="a photo", steps=4))
        for number in range(times):
            tell(str(number))
            taken["ours"].append(peak_of("ours", job))
            taken["theirs"].append(peak_of("theirs", job))
    return {
        "yggdrasil_bytes": asdict(Spread.of(taken["ours"])),
        "diffusers_bytes": asdict(Spread.of(taken["theirs"])),
        "ratio": asdict(Spread.of_ratios(taken["ours"], taken["theirs"])),
    }

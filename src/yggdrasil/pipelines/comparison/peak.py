"""The most memory that one side takes, measured in a process of its own.

    python -m yggdrasil.pipelines.comparison.peak ours '{...}'

In one process the two would share imports, weights and what the allocator keeps.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from yggdrasil.core.errors import ExecutionError
from yggdrasil.pipelines.comparison.job import Job

__all__ = ["peak_of"]

Side = Literal["ours", "theirs"]
_STATUS = Path("/proc/self/status")
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def peak_of(side: Side, job: Job) -> int:
    """Opens one side in a new process, makes the picture, and gives the most bytes it held.

    On a GPU it is PyTorch's peak there, else the peak of the process's resident memory.

    Args:
        side: Which.
        job: What to make.

    Raises:
        ExecutionError: The process failed.
    """
    command = [
        sys.executable,
        "-m",
        "yggdrasil.pipelines.comparison.peak",
        side,
        json.dumps(job.as_plain()),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - Python itself
    if ended.returncode:
        last = "\n".join(ended.stderr.strip().splitlines()[-3:])
        raise ExecutionError(
            f"The process that measures the memory of {side} failed: {last}. Leave it out with "
            "--no-memory."
        )
    return int(ended.stdout.splitlines()[-1])


def main(side: str, plain: dict[str, Any]) -> int:
    """Runs one side once and gives its peak."""
    job = Job.from_plain(plain)
    module = importlib.import_module(f"{__package__}.{side}")
    pipe = getattr(module, f"open_{side}")(job)
    module.call(pipe, job)
    if torch.device(job.request.device).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return _resident_peak()


def _resident_peak() -> int:
    if _STATUS.is_file():
        # What Linux counts as the process's largest begins with what its parent held.
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        (line,) = [each for each in lines if each.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


if __name__ == "__main__":
    print(main(sys.argv[1], json.loads(sys.argv[2])))  # noqa: T201 - the parent reads it

"""Make a virtual environment that has pip, also where Debian's ensurepip is missing.

Usage: python3 tools/make_venv.py .venv

Only the standard library is used, and only syntax that an older Python can read, so that it can
say that it is too old.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)
WHEELS = Path("/usr/share/python-wheels")  # of Debian's python3-pip-whl


def has_pip(python: Path) -> bool:
    """Tell whether ``python`` is there and can import pip."""
    return python.exists() and succeeds([str(python), "-c", "import pip"])


def succeeds(command: list[str]) -> bool:
    """Run ``command`` silently and tell whether it went well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def ways_to_pip(python: Path) -> list[list[str]]:
    """Give, best first, the commands that may put pip into the environment of ``python``."""
    # A wheel of pip is a pip that runs: it installs itself.
    wheels = [
        [str(python), f"{wheel}/pip", "install", "--no-index", str(wheel)]
        for wheel in sorted(WHEELS.glob("pip-*.whl"), reverse=True)
    ]
    return [
        [str(python), "-m", "ensurepip", "--default-pip"],
        *wheels,
        [sys.executable, "-m", "pip", "--python", str(python), "install", "pip"],
        ["uv", "pip", "install", "--python", str(python), "pip"],
    ]


def make(folder: Path) -> None:
    """Make ``folder`` an environment with pip, or leave with a message that says how to help."""
    python = folder / "bin" / "python"
    if has_pip(python):
        return
    venv.create(folder, clear=True, symlinks=True, with_pip=False)
    for command in ways_to_pip(python):
        if shutil.which(command[0]) and succeeds(command) and has_pip(python):
            return
    shutil.rmtree(folder)
    sys.exit(
        f"No pip for the virtual environment {folder}: this Python ({sys.executable}) comes without"
        " ensurepip.\nRun `apt install python3-venv` (or put uv on PATH), then make again."
    )


def main() -> None:
    """Check the version of Python and make the environment that the command line names."""
    if sys.version_info < OLDEST:
        needed, found = (".".join(map(str, v[:2])) for v in (OLDEST, sys.version_info))
        sys.exit(
            f"YggDrasil needs Python {needed} or newer, but {sys.executable} is {found}."
            " Name a newer one: make PYTHON=python3.12"
        )
    make(Path.cwd() / sys.argv[1])


if __name__ == "__main__":
    main()

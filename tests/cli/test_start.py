"""The command line starts quickly, and importing the package costs next to nothing."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL")
HELP = """
import sys
sys.argv = ["yggdrasil", "--help"]
from yggdrasil.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def python(code):
    """Runs code in a new process; gives what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def seconds(code):
    """Gives the median processor time of five processes: it does not see what else is running."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken)


@pytest.mark.parametrize("code", ["import yggdrasil; dir(yggdrasil)", HELP])
def test_nothing_heavy_is_imported(code):
    listed = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    assert python(f"{code}\n{listed}").splitlines()[-1].strip() == ""


@pytest.mark.parametrize("code", ["import yggdrasil", HELP])
def test_starting_takes_less_than_a_third_of_a_second(code):
    for _ in range(4):  # a processor that is slowed down for a moment is no fault
        taken = seconds(code) - seconds("pass")
        if taken < 0.3:
            return
    pytest.fail(f"it took {taken:.2f} s more than Python alone")


def test_a_bug_keeps_its_traceback_and_a_refusal_has_none():
    """What is raised on purpose is a message; anything else shows where it came from."""
    code = """
import sys
from yggdrasil.cli import app as commands, main
from yggdrasil.core.errors import InputError
sys.argv = ["yggdrasil", "templates"]
commands.app.registered_commands[:] = []
@commands.app.command("templates")
def templates() -> None:
    raise {error}("spoilt [bold]value")
main()
"""
    for error, shown in (("InputError", False), ("RuntimeError", True)):
        ended = subprocess.run(
            [sys.executable, "-c", code.replace("{error}", error)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == 1
        assert "spoilt [bold]value" in ended.stderr
        assert ("Traceback" in ended.stderr) == shown


def test_the_package_runs_as_a_module():
    shown = subprocess.run(
        [sys.executable, "-m", "yggdrasil", "--help"], check=True, capture_output=True, text=True
    ).stdout
    for command in ("generate", "run", "rerun", "train", "demo", "blocks", "templates", "graph"):
        assert command in shown

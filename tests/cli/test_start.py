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


BLOCKS, TEMPLATES, VERSION = (
    HELP.replace("--help", each) for each in ("blocks", "templates", "--version")
)
MODELS = HELP.replace('"--help"', '"hub", "list"')
REGISTRY = "import yggdrasil; yggdrasil.MODEL_REGISTRY.resolve('black-forest-labs/FLUX.1-dev')"


@pytest.mark.parametrize(
    "code",
    ["import yggdrasil; dir(yggdrasil)", HELP, BLOCKS, TEMPLATES, VERSION, MODELS, REGISTRY],
)
def test_nothing_heavy_is_imported(code):
    listed = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    assert python(f"{code}\n{listed}").splitlines()[-1].strip() == ""


def test_a_pipeline_that_makes_pictures_takes_no_memory_for_checking_files():
    code = "from yggdrasil import InferencePipeline; InferencePipeline"
    names = ("configs", "workflows.schema", "workflows.pictures", "profiling.table")
    wanted = [f"yggdrasil.pipelines.{name}" for name in names]
    listed = f"import sys; print(*[name for name in {wanted} if name in sys.modules])"
    assert python(f"{code}\n{listed}").splitlines()[-1].strip() == ""


@pytest.mark.parametrize(
    ("code", "limit"),
    [("import yggdrasil", 0.3), (HELP, 0.3), (BLOCKS, 0.7), (TEMPLATES, 0.7), (MODELS, 0.9)],
)
def test_starting_takes_a_fraction_of_a_second(code, limit):
    for _ in range(4):  # a processor that is slowed down for a moment is no fault
        taken = seconds(code) - seconds("pass")
        if taken < limit:
            return
    pytest.fail(f"it took {taken:.2f} s more than Python alone")


def test_the_package_runs_as_a_module():
    shown = subprocess.run(
        [sys.executable, "-m", "yggdrasil", "--help"], check=True, capture_output=True, text=True
    ).stdout
    for command in (
        "generate", "run", "rerun", "train", "demo", "blocks", "templates", "info", "graph"
    ):  # fmt: skip
        assert command in shown

"""No pipeline class of these families is forgotten."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.parity.cells import all_cells, given, takes
from tests.parity.classes import EXCUSED, LEFT_OUT, pipeline_classes
from tests.parity.families import ROWS
from tests.parity.page import pages
from yggdrasil.core.templates import load_template, template_names

_NATIVE = {pipeline for pipeline, _ in ROWS}


def _made() -> set[str]:
    """Gives the classes that a task of a template stands for."""
    tasks = [task for name in template_names() for task in load_template(name).tasks.values()]
    return {task["diffusers"] for task in tasks if "diffusers" in task}


def test_each_class_that_diffusers_exports_is_native_or_excused() -> None:
    listed = Counter(_NATIVE)
    for names in EXCUSED.values():
        listed.update(names)
    assert set(listed) == pipeline_classes()
    assert [name for name, times in listed.items() if times > 1] == []


def test_each_class_that_a_template_stands_for_has_a_row() -> None:
    assert _made() & pipeline_classes() == _NATIVE, (
        "A class with a template is native: put a Row into its family in tests/parity/families."
    )


def test_each_argument_of_a_native_class_is_given_in_a_cell_or_left_out_with_a_reason() -> None:
    cells: dict[str, set[str]] = defaultdict(set)
    for cell in all_cells():
        cells[cell.pipeline] |= given(cell).keys()
    for pipeline, names in cells.items():
        left_out = {name.removeprefix(f"{pipeline}.") for name in LEFT_OUT}
        missing = takes(pipeline) - names - left_out
        assert not missing, f"{pipeline}: give {sorted(missing)} in a feature, or say why not"


def test_the_pages_name_every_class() -> None:
    text = "".join(pages().values())
    assert [name for name in pipeline_classes() if name not in text] == []

"""Measures the parity matrix and writes ``docs/parity.md`` and a page for each family.

    python -m tests.parity                  # goes on where it was stopped
    python -m tests.parity --family sdxl    # that family alone
    python -m tests.parity --fresh          # measures everything anew
    python -m tests.parity --page           # measures nothing, writes the pages

Results are kept in ``docs/parity``, a file for each family and a line for each cell, with the
versions they were measured with. Measured again are cells of other versions, and those that were
not at 0.0.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import transformers
from diffusers.utils import logging as diffusers_logging
from rich.progress import track

from tests.parity.cells import Cell, all_cells
from tests.parity.families import FAMILIES
from tests.parity.measuring import measure
from tests.parity.page import pages
from tests.parity.results import DOCS, VERSIONS, is_exact, read, write


def main(families: list[str], *, fresh: bool, only_page: bool) -> None:
    """Measures what is not measured yet, and writes the pages.

    Args:
        families: Their names.
        fresh: Whether what is known is measured anew.
        only_page: Whether nothing is measured.
    """
    torch.set_num_threads(1)
    for logging in (diffusers_logging, transformers.utils.logging):
        logging.disable_progress_bar()  # those of reading and writing models
    for family in [] if only_page else families:
        cells = list(all_cells(family))
        kept = {} if fresh else read(family)
        known = {cell: kept[cell] for cell in cells if cell in kept}
        unequal = [cell for cell in cells if cell in known and not is_exact(known[cell])]
        rest = [cell for cell in cells if cell not in known] + unequal
        try:
            for number, cell in enumerate(track(rest, family), 1):
                known[cell] = _result(cell)
                if number % 50 == 0:
                    write(family, known)
        finally:
            write(family, known)
    for path, text in pages().items():
        (DOCS / path).write_text(text, encoding="utf-8")


def _result(cell: Cell) -> dict[str, Any]:
    """Measures a cell; a failure is a result too, which the page shows."""
    try:
        return {"differences": measure(cell), "versions": VERSIONS}
    except Exception as error:  # noqa: BLE001 - the other cells are to be measured all the same
        first = str(error).partition("\n")[0]
        return {"error": f"{type(error).__name__}: {first}", "versions": VERSIONS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument(
        "--family", choices=FAMILIES, action="append", help="several times for several"
    )
    parser.add_argument("--fresh", action="store_true", help="measures everything anew")
    parser.add_argument("--page", action="store_true", help="only writes the pages")
    given = parser.parse_args()
    main(given.family or list(FAMILIES), fresh=given.fresh, only_page=given.page)

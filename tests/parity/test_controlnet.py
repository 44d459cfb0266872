"""What the matrix could not tell apart would be seen: pictures, kinds, masks and numbers matter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity.cells import Cell
from tests.parity.families.control import FIRST, SECOND, WEIGHED
from tests.parity.families.controlnet_flux import CONTROLNET_FLUX
from tests.parity.families.controlnet_sd import CONTROLNET_SD
from tests.parity.families.controlnet_sd3 import CONTROLNET_SD3
from tests.parity.families.controlnet_sdxl import CONTROLNET_UNION
from tests.parity.family import Family
from tests.parity.measuring import DRAWS, measure, pipelines
from tests.pipelines.pictures import mask

pytestmark = pytest.mark.parity

_SWAPPED = {"controlnet_conditioning_scale": WEIGHED["controlnet_conditioning_scale"][::-1]}


def _cell(family: Family, model: str, feature: str = "plain", way: str = "shared") -> Cell:
    """Gives a cell of the first row with a model."""
    row = next(row for row in family.rows if row.model == model)
    return Cell(row.pipeline, model, row.solver, way, feature)


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        (_cell(CONTROLNET_SD, "sd15"), {"image": SECOND}),
        (_cell(CONTROLNET_SD, "sd15"), {"control_guidance_end": 0.5}),
        (_cell(CONTROLNET_SD, "sd15_two"), {"image": [SECOND, FIRST]}),
        (_cell(CONTROLNET_SD, "sd15_two", "numbers for each"), _SWAPPED),
        (_cell(CONTROLNET_UNION, "sdxl_union"), {"control_mode": 3}),
        (_cell(CONTROLNET_UNION, "sdxl_union", "two kinds, numbers for each"), _SWAPPED),
        (_cell(CONTROLNET_SD3, "sd3_two"), {"control_image": [SECOND, FIRST]}),
        (_cell(CONTROLNET_SD3, "sd3_masked"), {"control_mask": mask(box=(8, 16, 32, 48))}),
        (_cell(CONTROLNET_FLUX, "flux_two", "numbers for each"), _SWAPPED),
        (_cell(CONTROLNET_FLUX, "flux_union"), {"control_mode": 3}),
    ],
    # Pictures are told by where they lie, which differs from process to process.
    ids=lambda value: str(value) if isinstance(value, Cell) else "-".join(value),
)
def test_a_difference_would_be_seen(cell: Cell, changes: dict[str, Any]) -> None:
    differences = measure(cell, **changes)
    assert not differences.pop(DRAWS)
    assert min(differences.values()) > 1e-5, differences


@pytest.mark.parametrize(
    "cell", [_cell(CONTROLNET_SD3, "sd3_two"), _cell(CONTROLNET_FLUX, "flux_two")], ids=str
)
def test_several_of_a_transformer_cannot_be_saved_by_diffusers(cell: Cell, tmp_path) -> None:
    theirs, _ = pipelines(cell)
    with pytest.raises(AttributeError, match="save_config"):
        theirs.save_pretrained(tmp_path)

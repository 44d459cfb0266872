"""The families of the parity matrix; a new one is a module here and a line below."""

from __future__ import annotations

from tests.parity.families.controlnet_flux import CONTROLNET_FLUX
from tests.parity.families.controlnet_sd import CONTROLNET_SD
from tests.parity.families.controlnet_sd3 import CONTROLNET_SD3
from tests.parity.families.controlnet_sdxl import CONTROLNET_SDXL, CONTROLNET_UNION
from tests.parity.families.flux import FLUX
from tests.parity.families.sd3 import SD3
from tests.parity.families.sdxl import SDXL
from tests.parity.families.stable_diffusion import STABLE_DIFFUSION
from tests.parity.family import Family, Row

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        STABLE_DIFFUSION,
        SDXL,
        SD3,
        FLUX,
        CONTROLNET_SD,
        CONTROLNET_SDXL,
        CONTROLNET_UNION,
        CONTROLNET_SD3,
        CONTROLNET_FLUX,
    )
}
ROWS: dict[tuple[str, str], tuple[Family, Row]] = {
    (row.pipeline, row.model): (family, row) for family in FAMILIES.values() for row in family.rows
}
"""By class and model."""

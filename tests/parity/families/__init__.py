"""The families of the parity matrix; a new one is a module here and a line below."""

from __future__ import annotations

from tests.parity.families.flux import FLUX
from tests.parity.families.flux2 import FLUX2
from tests.parity.families.instruct_pix2pix import INSTRUCT_PIX2PIX
from tests.parity.families.latent_consistency import LATENT_CONSISTENCY
from tests.parity.families.sd3 import SD3
from tests.parity.families.sdxl import SDXL
from tests.parity.families.stable_diffusion import STABLE_DIFFUSION
from tests.parity.family import Family, Row

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        STABLE_DIFFUSION,
        LATENT_CONSISTENCY,
        INSTRUCT_PIX2PIX,
        SDXL,
        SD3,
        FLUX,
        FLUX2,
    )
}
ROWS: dict[tuple[str, str], tuple[Family, Row]] = {
    (row.pipeline, row.model): (family, row) for family in FAMILIES.values() for row in family.rows
}
"""By class and model."""

"""The families of the parity matrix; a new one is a module here and a line below."""

from __future__ import annotations

from tests.parity.families.controlnet_flux import CONTROLNET_FLUX
from tests.parity.families.controlnet_sd import CONTROLNET_SD
from tests.parity.families.controlnet_sd3 import CONTROLNET_SD3
from tests.parity.families.controlnet_sdxl import CONTROLNET_SDXL, CONTROLNET_UNION
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
        CONTROLNET_SD,
        LATENT_CONSISTENCY,
        INSTRUCT_PIX2PIX,
        SDXL,
        CONTROLNET_SDXL,
        CONTROLNET_UNION,
        SD3,
        CONTROLNET_SD3,
        FLUX,
        CONTROLNET_FLUX,
        FLUX2,
    )
}
ROWS: dict[tuple[str, str], tuple[Family, Row]] = {
    (row.pipeline, row.model): (family, row) for family in FAMILIES.values() for row in family.rows
}
"""By class and model."""

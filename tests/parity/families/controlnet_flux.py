"""ControlNets for FLUX.1: for one kind of picture or several, of latents or of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import FluxMultiControlNetModel

from tests.parity.families.control import (
    CROSSED,
    FIRST,
    OTHER,
    SECOND,
    TWO_PROMPTS,
    WEAKER,
    WEIGHED,
    normal,
)
from tests.parity.families.flux import FLUX
from tests.parity.family import Family, Feature, Row
from tests.pipelines.pictures import mask
from tests.tiny_controlnets import tiny_flux_controlnet, with_controlnet
from tests.tiny_flux import tiny_flux

TXT2IMG, IMG2IMG = "FluxControlNetPipeline", "FluxControlNetImg2ImgPipeline"
INPAINT = "FluxControlNetInpaintPipeline"

_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "union": {"num_mode": 4},
    "pixels": {"conditioning_embedding_channels": 4, "num_single_layers": 0},
    "scaled": {"guidance_embeds": True},
    "unscaled": {"guidance_embeds": False},
}
"""As InstantX has them; for kinds of pictures; as XLabs; reading a guidance scale or not."""


def _controlled(*kinds: str, base: str = "flux", held: bool = False) -> Callable[[type], Any]:
    """Gives what makes a pipeline with a ControlNet of each kind.

    Args:
        kinds: Keys of ``_KINDS``.
        base: What they control.
        held: Whether one is held as several are, so that it reads several pictures.
    """

    def made(cls: type) -> Any:
        pipe = tiny_flux(base)
        nets = [
            tiny_flux_controlnet(pipe.transformer, 1 + number, **_KINDS[kind])
            for number, kind in enumerate(kinds)
        ]
        several = FluxMultiControlNetModel(nets) if held else nets
        return with_controlnet(pipe, cls, several if held or len(nets) > 1 else nets[0])

    return made


_ONE = {"control_image": FIRST}
_TWO = {
    "control_image": [FIRST, SECOND], "controlnet_conditioning_scale": [0.8, 1.2],
    "control_mode": [None, None],
}  # fmt: skip
_PICTURE = {"image": OTHER, "strength": 0.7}
_MASKED = {**_PICTURE, "mask_image": mask()}
_TURNED = OTHER.rotate(90)
_LATENTS = normal(8, 1, 4, 8, 8)
_OF_NUMBERS: dict[str, Feature] = {
    "some of the steps": {"control_guidance_start": 0.2, "control_guidance_end": 0.8}
}
_OF_ONE: dict[str, Feature] = {
    **_OF_NUMBERS,
    "a weaker control": WEAKER,
    "no control": {"controlnet_conditioning_scale": 0.0},
    "a picture for each prompt": {
        **TWO_PROMPTS, "num_images_per_prompt": 2, "control_image": [FIRST, SECOND]
    },
    "control by a tensor": {"control_image": normal(5, 1, 3, 64, 64).clamp(-1, 1)},
}  # fmt: skip
_OF_TWO: dict[str, Feature] = {
    **_OF_NUMBERS,
    "numbers for each": WEIGHED,
    "one of two": {"controlnet_conditioning_scale": [0.0, 0.9]},
}
_OF_PICTURES: dict[str, Feature] = {
    "two pictures": {**TWO_PROMPTS, "image": [OTHER, _TURNED], "generator": [1, 2]},
    "all anew": {"strength": 1.0},
    "part of a step": {"num_inference_steps": 7},
    "picture as latents": "Diffusers encodes whatever it is given there",
}
_OF_MASKS: dict[str, Feature] = {
    "two pictures": {
        **TWO_PROMPTS, "image": [OTHER, _TURNED], "mask_image": [mask(), mask().rotate(90)],
        "generator": [1, 2],
    },
    "all anew": {"strength": 1.0},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
    "given latents": {"latents": _LATENTS},
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
}  # fmt: skip
_FIRST_ALONE = (
    "Diffusers gives the kind of picture for the first sample alone, and fails on a batch"
)
_OF_UNION: dict[str, Feature] = {
    "another kind": {"control_mode": 1},
    **dict.fromkeys(
        (
            "batch of 2",
            "two per prompt",
            "batch of 2, two per prompt",
            "list of generators",
            "a picture for each prompt",
            "two pictures",
        ),
        _FIRST_ALONE,
    ),
}
_UNSAVED = {"saved": "Diffusers cannot save a pipeline with several ControlNets of this family"}
_ROWS = {row.pipeline: row for row in FLUX.rows}
# The schedule and the draws are those of these pipelines.
_REFUSED = _ROWS["FluxControlPipeline"].refused
_PLAIN = ("plain",)


def _row(pipeline: str, model: str, **further: Any) -> Row:
    return Row(pipeline, model, "flow_euler", **further)


CONTROLNET_FLUX = Family(
    name="controlnet_flux",
    models={
        "flux": _controlled("plain"),
        "flux_union": _controlled("union"),
        "flux_pixels": _controlled("pixels"),
        "flux_unscaled": _controlled("unscaled"),
        "flux_schnell": _controlled("scaled", base="flux_schnell"),
        "flux_two": _controlled("plain", "plain"),
        "flux_unions": _controlled("union", "union"),
        "flux_union_and_plain": _controlled("union", "plain"),
        "flux_union_twice": _controlled("union", held=True),
    },
    call=FLUX.call,
    features=FLUX.features,
    crossed=CROSSED,
    solvers=FLUX.solvers,
    refused=FLUX.refused,
    begins=FLUX.begins,
    beside=FLUX,
    rows=(
        _row(
            TXT2IMG, "flux", call=_ONE, features=_OF_ONE, change=WEAKER, refused=_REFUSED,
        ),
        _row(
            TXT2IMG, "flux_union", call={**_ONE, "control_mode": 2},
            features={**_OF_ONE, "another kind": {"control_mode": 1}}, crossed=_PLAIN,
            refused=_REFUSED,
        ),
        *(
            _row(
                TXT2IMG, model, call=_ONE, features=_OF_ONE, crossed=_PLAIN, refused=_REFUSED,
            )
            for model in ("flux_pixels", "flux_unscaled", "flux_schnell")
        ),
        *(
            _row(
                TXT2IMG, model, call={**_TWO, "control_mode": modes}, features=_OF_TWO,
                crossed=_PLAIN, refused={**_REFUSED, **_UNSAVED},
            )
            for model, modes in (
                ("flux_two", None), ("flux_unions", [2, 0]), ("flux_union_and_plain", [2, None]),
            )
        ),
        _row(
            TXT2IMG, "flux_union_twice",
            # Diffusers counts the shares of steps, and leaves out pictures that have none.
            call={**_TWO, "control_mode": [2, 0], "control_guidance_start": [0.0, 0.4],
                  "control_guidance_end": [1.0, 1.0]},
            features={"numbers for each": WEIGHED}, crossed=_PLAIN,
            refused={**_REFUSED, **_UNSAVED},
        ),
        _row(
            IMG2IMG, "flux", call={**_ONE, **_PICTURE}, features={**_OF_ONE, **_OF_PICTURES},
            change=WEAKER,
        ),
        _row(
            IMG2IMG, "flux_union", call={**_ONE, **_PICTURE, "control_mode": 2},
            features={**_OF_ONE, **_OF_PICTURES, **_OF_UNION}, crossed=_PLAIN,
        ),
        _row(
            IMG2IMG, "flux_two", call={**_TWO, **_PICTURE}, features={**_OF_TWO, **_OF_PICTURES},
            crossed=_PLAIN, refused=_UNSAVED,
        ),
        _row(
            INPAINT, "flux", call={**_ONE, **_MASKED}, features={**_OF_ONE, **_OF_MASKS},
            change=WEAKER,
        ),
        _row(
            INPAINT, "flux_union", call={**_ONE, **_MASKED, "control_mode": 2},
            features={**_OF_ONE, **_OF_MASKS, **_OF_UNION}, crossed=_PLAIN,
        ),
        _row(
            INPAINT, "flux_two", call={**_TWO, **_MASKED}, features={**_OF_TWO, **_OF_MASKS},
            crossed=_PLAIN, refused=_UNSAVED,
        ),
    ),
)  # fmt: skip

"""ControlNets and LoRAs together, added to a pipeline that ran, give the numbers of Diffusers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from diffusers import (
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetPipeline,
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import (
    tiny_controlnet,
    tiny_flux_controlnet,
    tiny_sd3_controlnet,
    with_controlnet,
)
from tests.tiny_flux import tiny_flux
from tests.tiny_loras import FLUX, SD, SD3, SDXL, tiny_lora
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.registry import make_block
from yggdrasil.pipelines.runner import Runner

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`"),  # theirs, of a second one
]

FIRST, SECOND, BEGIN = picture(), mask().convert("RGB"), picture(seed=8)
BATCH = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
CHANGED = {"image": BEGIN, "strength": 0.75}
MASKED = {**CHANGED, "mask_image": mask()}
WINDOWS = {"control_guidance_start": [0.0, 0.3], "control_guidance_end": [0.7, 1.0]}


@dataclass(frozen=True)
class Family:
    """What is made in miniature for a family.

    Attributes:
        make: Makes a pipeline of Diffusers.
        layers: What LoRAs change, by component.
        net: Makes a ControlNet.
        block: The block that holds it.
        tasks: Diffusers' pipelines with ControlNets.
        scales: Scales of a LoRA by block.
        backbone: The component that ControlNets add to.
        scaled: How a call says the scale of LoRAs.
        settings: Of Diffusers' pipelines with ControlNets.
        kinds_told: The tasks in which Diffusers asks for the kinds of several pictures.
        call: What every call is given.
    """

    make: Callable[[], Any]
    layers: Mapping[str, Sequence[str]]
    net: Callable[..., Any]
    block: str
    tasks: Mapping[str, type]
    scales: Mapping[str, Any]
    backbone: str
    scaled: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    kinds_told: tuple[str, ...] = ()


_UNET = {
    "unet": {"down": 0.9, "mid": 0.7, "up": {"block_1": [0.2, 0.4]}}, "text_encoder": 0.5,
}  # fmt: skip
_TRANSFORMER = {"transformer": {"transformer_blocks": 0.3}, "text_encoder": 0.5}
_SIZE = {"height": 64, "width": 64}

FAMILIES = {
    "sd15": Family(
        tiny_pipeline, SD, tiny_controlnet, "inner_module/controlnet",
        {
            "text": StableDiffusionControlNetPipeline,
            "img2img": StableDiffusionControlNetImg2ImgPipeline,
            "inpaint": StableDiffusionControlNetInpaintPipeline,
        },
        _UNET, "unet", "cross_attention_kwargs", {"requires_safety_checker": False},
    ),
    "sdxl": Family(
        tiny_sdxl, SDXL, tiny_controlnet, "inner_module/controlnet",
        {
            "text": StableDiffusionXLControlNetPipeline,
            "img2img": StableDiffusionXLControlNetImg2ImgPipeline,
            "inpaint": StableDiffusionXLControlNetInpaintPipeline,
        },
        _UNET, "unet", "cross_attention_kwargs", {"add_watermarker": False},
    ),
    "sd3": Family(
        tiny_sd3, SD3, tiny_sd3_controlnet, "inner_module/sd3_controlnet",
        {
            "text": StableDiffusion3ControlNetPipeline,
            "inpaint": StableDiffusion3ControlNetInpaintingPipeline,
        },
        _TRANSFORMER, "transformer", "joint_attention_kwargs", call=_SIZE,
    ),
    "flux": Family(
        tiny_flux, FLUX, tiny_flux_controlnet, "inner_module/flux_controlnet",
        {
            "text": FluxControlNetPipeline,
            "img2img": FluxControlNetImg2ImgPipeline,
            "inpaint": FluxControlNetInpaintPipeline,
        },
        _TRANSFORMER, "transformer", "joint_attention_kwargs", call=_SIZE,
        kinds_told=("img2img", "inpaint"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is added, and how the pipeline is called.

    Attributes:
        task: Of the family's.
        nets: How many ControlNets.
        scales: Of each LoRA; ``blocks`` for the family's scales by block.
        files: Which of the scene's LoRAs they are.
        fuse: Whether the LoRAs are fused.
        call: Arguments of the call.
    """

    task: str = "text"
    nets: int = 1
    scales: tuple[Any, ...] = (0.8,)
    files: tuple[int, ...] = (0, 1)
    fuse: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)


CELLS = {
    "one and one": Cell(),
    "one and two": Cell(scales=(0.8, 0.5)),
    "two and one": Cell(nets=2),
    "two and two": Cell(nets=2, scales=(0.8, -0.5), call=WINDOWS),
    "scales by block": Cell(scales=("blocks", 0.5)),
    "a scale of the call": Cell(nets=2, scales=(0.8, 0.5), call={"scaled": 0.7}),
    "fused": Cell(scales=(0.8,), fuse=True),
    "two fused": Cell(nets=2, scales=(0.8, 0.5), fuse=True),
    "a batch": Cell(nets=2, scales=(0.8, 0.5), call=BATCH),
    "a list of generators": Cell(call={"prompt": ["a cat", "a dog"], "generator": [1, 2]}),
    "img2img": Cell("img2img", scales=(0.8, 0.5), call=CHANGED),
    "img2img, two": Cell("img2img", nets=2, call={**CHANGED, **WINDOWS}),
    "a mask": Cell("inpaint", scales=(0.8, 0.5), call=MASKED),
    "a mask, two": Cell("inpaint", nets=2, call={**MASKED, **WINDOWS}),
}

QUICK = {
    ("sd15", "two and two"), ("sdxl", "two and two"), ("sd3", "two and two"),
    ("flux", "two and two"), ("sd15", "scales by block"), ("flux", "a scale of the call"),
    ("flux", "fused"), ("sd15", "a mask"), ("flux", "img2img"), ("sd3", "a mask"),
}  # fmt: skip


def _has(family: str, cell: Cell) -> bool:
    """Says whether Diffusers has such a pipeline."""
    # Those for Stable Diffusion 3 read one ControlNet for a masked picture, and scale no LoRAs of
    # text encoders by what a call says, although the pipeline without ControlNets does.
    lacks = family == "sd3" and (
        (cell.task == "inpaint" and cell.nets > 1) or "scaled" in cell.call
    )
    return cell.task in FAMILIES[family].tasks and not lacks


EVERY = [
    pytest.param(family, name, marks=() if (family, name) in QUICK else pytest.mark.slow)
    for family in FAMILIES
    for name, cell in CELLS.items()
    if _has(family, cell)
]


class Scene:
    """A pipeline of Diffusers, one on the same modules that already ran, and what to add.

    Args:
        family: Of both.
        folder: For the LoRAs.
    """

    def __init__(self, family: Family, folder: Any) -> None:
        self.family = family
        self.theirs = family.make()
        model = getattr(self.theirs, family.backbone)
        self.nets = [family.net(model, seed) for seed in (1, 2)]
        # That of Stable Diffusion 3 for masked pictures is one of its own.
        own = family.net is tiny_sd3_controlnet
        self.for_masks = [family.net(model, 3, extra_conditioning_channels=1)] if own else []
        self.loras = [
            str(tiny_lora(folder / name, self.theirs, family.layers, seed=seed, rank=rank))
            for seed, (name, rank) in enumerate((("first", 4), ("second", 2)), start=1)
        ]
        self.ours = quiet(InferencePipeline.from_diffusers(self.theirs, task=None))
        self.plain = self.run()

    def run(self, call: Mapping[str, Any] | None = None) -> Any:
        """Runs ours, by the names of a pipeline without ControlNets."""
        return self.ours(**drawn(self.family, call or {}), output_type="pt")

    def expect(self, cell: Cell) -> tuple[torch.Tensor, torch.Tensor]:
        """Gives latents and pictures of Diffusers."""
        family, seen = self.family, []
        nets = self._nets(cell)

        def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
            seen.append(values["latents"])
            return {}

        # What Diffusers takes out of weights again leaves other last bits there.
        base = copy.deepcopy(self.theirs) if cell.fuse else self.theirs
        pipe = with_controlnet(
            base, family.tasks[cell.task], nets if len(nets) > 1 else nets[0],
            **family.settings,
        )  # fmt: skip
        names = [f"lora_{number}" for number, _ in enumerate(cell.scales)]
        for name, file in zip(names, cell.files, strict=False):
            pipe.load_lora_weights(self.loras[file], adapter_name=name)
        try:
            if names:
                pipe.set_adapters(names, self._scales(cell))
            if cell.fuse:
                pipe.fuse_lora(components=list(family.layers))
            call = drawn(family, self._controlled(cell))
            if cell.nets > 1 and cell.task in family.kinds_told:
                call["control_mode"] = [
                    None
                ] * cell.nets  # or Diffusers does not see that it is one of several
            if cell.task == "text" and family.backbone == "unet":
                call["image"] = call.pop("control_image")  # as Diffusers calls it there
            images = pipe(**call, output_type="pt", callback_on_step_end=remember).images
        finally:
            if not cell.fuse:
                pipe.unload_lora_weights()
        return seen[-1], images

    def call(self, cell: Cell) -> Any:
        """Runs ours with what a cell says; the nodes must be there."""
        return self.run(self._controlled(cell))

    @contextlib.contextmanager
    def added(self, cell: Cell) -> Iterator[None]:
        """Adds the nodes of a cell for as long as the context is open."""
        graph = self.ours.graph
        nets = {f"net_{number}": net for number, net in enumerate(self._nets(cell))}
        for order, (name, net) in enumerate(nets.items()):
            graph.add_node(name, make_block(self.family.block).give(controlnet=net), order=order)
        loras = {f"lora_{n}": scale for n, scale in enumerate(self._scales(cell))}
        for order, (name, scale) in enumerate(loras.items()):
            graph.add_node(
                name, type="adapter/lora", order=order, scale=scale, fuse=cell.fuse,
                weights=self.loras[cell.files[order]],
            )  # fmt: skip
        try:
            yield
        finally:
            for name in (*nets, *loras):
                if name in graph.nodes:
                    graph.remove_node(name)

    def _nets(self, cell: Cell) -> list[Any]:
        masked = cell.task == "inpaint" and self.for_masks
        return self.for_masks if masked else self.nets[: cell.nets]

    def _scales(self, cell: Cell) -> list[Any]:
        # Diffusers takes what is in a mapping out of it.
        return [dict(self.family.scales) if each == "blocks" else each for each in cell.scales]

    def _controlled(self, cell: Cell) -> dict[str, Any]:
        several = cell.nets > 1
        call = {"guidance_scale": 3.0, **cell.call}
        if cell.nets:
            call["control_image"] = [FIRST, SECOND] if several else FIRST
            call["controlnet_conditioning_scale"] = [0.7, 0.4] if several else 0.7
        if "scaled" in call:
            call[self.family.scaled] = {"scale": call.pop("scaled")}
        if cell.task == "inpaint" and self.for_masks:
            call["control_mask"] = call.pop("mask_image")
            del call["image"], call["strength"]
        return call


def drawn(family: Family, call: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the arguments with fresh generators, the global one among them."""
    torch.manual_seed(9)
    seeds = call.get("generator", 0)
    made = [generator(each) for each in seeds] if isinstance(seeds, list) else generator(seeds)
    return {"prompt": "a cat", "num_inference_steps": 3, **family.call, **call, "generator": made}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Gives the scene of a family, made once: everything that is added is taken off again."""
    made: dict[str, Scene] = {}

    def scene(family: str) -> Scene:
        if family not in made:
            made[family] = Scene(FAMILIES[family], tmp_path_factory.mktemp(family))
        return made[family]

    return scene


def same(result: Any, expected: Any) -> bool:
    """Says whether two results have the same bits."""
    return torch.equal(result.images, expected.images) and torch.equal(
        result.latents, expected.latents
    )


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_the_numbers_are_those_of_diffusers(scenes, family, name):
    scene, cell = scenes(family), CELLS[name]
    latents, images = scene.expect(cell)
    with scene.added(cell):
        result = scene.call(cell)
    assert torch.isfinite(images).all()
    assert float((result.latents - latents).abs().max()) == 0.0
    assert float((result.images - images).abs().max()) == 0.0


def test_the_scale_of_a_call_to_a_controlnet_pipeline_of_stable_diffusion_3(scenes):
    scene = scenes("sd3")
    pipe = with_controlnet(
        scene.theirs, StableDiffusion3ControlNetPipeline, scene.nets[0], **scene.family.settings
    )
    call = {"control_image": FIRST, "joint_attention_kwargs": {"scale": 0.3}}
    pipe.load_lora_weights(scene.loras[0], adapter_name="style")
    try:
        expected = pipe(**drawn(scene.family, call), output_type="pt").images
    finally:
        pipe.unload_lora_weights()
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    ours.load_lora_weights(scene.loras[0], adapter_name="style")
    assert torch.equal(ours(**drawn(scene.family, call), output_type="pt").images, expected)


# -- taken off and changed -----------------------------------------------------------------------

BOTH = Cell(nets=2, scales=(0.8, 0.5))
NETS, LORAS = Cell(nets=2, scales=()), Cell(nets=0, scales=(0.8, 0.5))
FAMILIES_QUICKLY = [
    "sd15",
    *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES if f != "sd15"),
]


def check_bare(scene: Scene) -> None:
    """Checks that the models are what they were, and that a call without anything added is."""
    for component in scene.family.layers:
        model = getattr(scene.theirs, component)
        assert not getattr(model, "peft_config", None)
        assert not any("lora" in name for name, _ in model.named_modules())
    assert same(scene.run(), scene.plain)  # a value that is kept
    scene.ours._runtime.cache.clear()
    assert same(scene.run(), scene.plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_taken_off_in_either_order_the_bits_of_before_return(scenes, family):
    scene = scenes(family)
    for first, second in ((NETS, LORAS), (LORAS, NETS)):
        with scene.added(first):
            alone = scene.call(first)
            with scene.added(second):
                assert not same(scene.call(BOTH), alone)
            assert same(scene.call(first), alone)
            scene.ours._runtime.cache.clear()
            assert same(scene.call(first), alone)
        check_bare(scene)


@pytest.mark.parametrize("family", FAMILIES_QUICKLY)
def test_a_lora_is_swapped_while_the_controlnet_stays(scenes, family):
    scene = scenes(family)
    expected = scene.expect(Cell(scales=(0.3,), files=(1,)))
    with scene.added(Cell()):
        scene.call(Cell())
        block = scene.ours.graph.block("lora_0")
        block.weights, block.scale = scene.loras[1], 0.3
        swapped = scene.call(Cell())
    assert torch.equal(swapped.latents, expected[0])
    assert torch.equal(swapped.images, expected[1])


@pytest.mark.parametrize("family", FAMILIES_QUICKLY)
def test_fused_and_unfused_with_a_controlnet(scenes, family):
    scene = scenes(family)
    expected = scene.expect(Cell(fuse=True))
    with scene.added(Cell()):
        apart = scene.call(Cell())
        scene.ours.fuse_lora(components=list(scene.family.layers))
        fused = scene.call(Cell())
        scene.ours.unfuse_lora()
        assert same(scene.call(Cell()), apart)
        scene.ours._runtime.cache.clear()
        assert same(scene.call(Cell()), apart)
    assert torch.equal(fused.images, expected[1])
    assert not same(fused, apart)  # other last bits: it is fused indeed
    check_bare(scene)


def test_a_call_that_is_broken_off_leaves_the_models_as_they_were(scenes):
    scene = scenes("sd15")

    def break_off(*_: Any) -> None:
        raise KeyboardInterrupt

    hook = scene.nets[1].register_forward_hook(break_off)
    with scene.added(BOTH), pytest.raises(KeyboardInterrupt):
        scene.call(BOTH)
    hook.remove()
    check_bare(scene)


# -- what is computed anew -----------------------------------------------------------------------


@contextlib.contextmanager
def counted(scene: Scene) -> Iterator[dict[str, int]]:
    """Counts how often each model runs, for as long as the context is open."""
    theirs = scene.theirs
    models = {
        "text": theirs.text_encoder, "backbone": getattr(theirs, scene.family.backbone),
        "codec": theirs.vae.encoder, "net": scene.nets[0],
    }  # fmt: skip
    runs = dict.fromkeys(models, 0)

    def count(name: str) -> None:
        runs[name] += 1

    hooks = [
        model.register_forward_pre_hook(lambda *_, name=name: count(name))
        for name, model in models.items()
    ]
    yield runs
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("family", ["sd15", pytest.param("flux", marks=pytest.mark.slow)])
def test_only_what_a_change_concerns_is_computed_anew(scenes, family):
    scene = scenes(family)
    backbone = scene.family.backbone
    cell = Cell("img2img", call={**CHANGED, "num_inference_steps": 4})
    loop = {"backbone", "net"}
    # How many latents FLUX's control picture needs is known once the text is encoded.
    texts = {"text", "codec", *loop} if family == "flux" else {"text", *loop}
    scene.ours._runtime.cache.clear()
    with scene.added(cell), counted(scene) as runs:
        lora = scene.ours.graph.block("lora_0")

        def computed(**settings: Any) -> set[str]:
            """Sets something of the LoRA, and gives what runs in the next call."""
            for name, value in settings.items():
                setattr(lora, name, value)
            runs.update(dict.fromkeys(runs, 0))
            scene.call(cell)
            return {name for name, number in runs.items() if number}

        def stale() -> bool:
            """Says whether the last call gave something of an earlier one."""
            kept = scene.call(cell)
            scene.ours._runtime.cache.clear()
            return not same(scene.call(cell), kept)

        assert computed(scale={backbone: 0.8, "text_encoder": 0.8}) == {"codec", *texts}
        assert computed() == set()
        assert computed(scale={backbone: 0.5, "text_encoder": 0.8}) == loop
        assert not stale()
        assert computed(scale={backbone: 0.5, "text_encoder": 0.1}) == texts
        assert not stale()
        assert computed(fuse=True) == texts
        assert not stale()
    check_bare(scene)


# -- files ---------------------------------------------------------------------------------------


@pytest.fixture
def opened(request, scenes, tmp_path):
    """Gives a scene, and a pipeline of the same model on disk, with a ControlNet and two LoRAs."""
    scene = scenes(request.param)
    scene.theirs.save_pretrained(tmp_path / "model")
    scene.nets[0].save_pretrained(tmp_path / "net")
    pipe = quiet(InferencePipeline.from_pretrained(tmp_path / "model"))
    pipe.graph.add_node("net", scene.family.block, pretrained=str(tmp_path / "net"))
    for order, scale in enumerate((0.8, {scene.family.backbone: 0.5})):
        pipe.graph.add_node(
            f"lora_{order}", "adapter/lora", order=order, weights=scene.loras[order], scale=scale
        )
    return scene, pipe


def arguments(scene: Scene) -> dict[str, Any]:
    """Gives a call that a file keeps."""
    torch.manual_seed(9)
    return {
        "prompt": "a cat", "num_inference_steps": 2, "seed": 0, "output_type": "pt",
        "control_image": FIRST, "controlnet_conditioning_scale": 0.7, **scene.family.call,
    }  # fmt: skip


# Diffusers warns, while it loads a ControlNet for FLUX, of how it is made itself.
OF_FLUX = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")
ON_DISK = [
    "sd15",
    pytest.param("sdxl", marks=pytest.mark.slow),
    pytest.param("flux", marks=[pytest.mark.slow, OF_FLUX]),
]


@pytest.mark.parametrize("opened", ON_DISK, indirect=True)
def test_a_workflow_keeps_both(opened, tmp_path):
    scene, pipe = opened
    path = pipe.save_workflow(tmp_path / "cat.yaml", **arguments(scene))
    expected = pipe(**arguments(scene))
    again = Runner.execute(path)
    assert torch.equal(again.images, expected.images)
    assert torch.equal(again.latents, expected.latents)


@pytest.mark.parametrize("opened", ON_DISK, indirect=True)
def test_a_folder_keeps_both(opened, tmp_path):
    scene, pipe = opened
    expected = pipe(**arguments(scene))
    folder = pipe.save_pretrained(tmp_path / "both")
    again = quiet(InferencePipeline.from_pretrained(folder))
    assert torch.equal(again(**arguments(scene)).images, expected.images)
    again.graph.remove_node("net")
    again.unload_lora_weights()
    call = {k: v for k, v in arguments(scene).items() if not k.startswith("control")}
    for name in ("net", "lora_0", "lora_1"):
        if name in pipe.graph.nodes:
            pipe.graph.remove_node(name)
    assert torch.equal(again(**call).images, pipe(**call).images)

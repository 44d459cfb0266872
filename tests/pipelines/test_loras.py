"""LoRAs as nodes of a pipeline that already ran: what is computed anew, and what comes back."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model

from tests.pipelines.conftest import generator, quiet
from tests.tiny_loras import NETWORK, SD, TEXT, as_kohya, tiny_factors, tiny_lora, write
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import AmbiguousError, ExecutionError, GraphError, InputError, ModelError

CALL = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}


def add(pipe, name="style", **config):
    pipe.graph.add_node(name, type="adapter/lora", **config)


@pytest.fixture
def runs(theirs):
    """Lists the name of each model that is run."""
    seen = []
    hooks = [
        getattr(theirs, name).register_forward_pre_hook(lambda *_, name=name: seen.append(name))
        for name in ("text_encoder", "unet")
    ]
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.fixture
def whole(theirs, tmp_path):
    """Gives a LoRA that changes the UNet and the text encoder."""
    return str(tiny_lora(tmp_path / "whole", theirs, SD))


@pytest.fixture
def unet_only(theirs, tmp_path):
    """Gives a LoRA that changes the UNet alone."""
    return str(tiny_lora(tmp_path / "unet", theirs, {"unet": NETWORK}, seed=3))


def test_the_prompt_is_encoded_anew_only_for_a_lora_of_the_text_encoder(
    ours, runs, whole, unet_only
):
    ours("a cat", **CALL)
    runs.clear()
    add(ours, weights=unet_only, scale=0.5)
    ours("a cat", **CALL)
    ours.graph.block("style").scale = 0.7
    ours("a cat", **CALL)
    assert "text_encoder" not in runs
    assert runs.count("unet") == 2 * 3  # PNDM's steps and one more
    add(ours, "other", weights=whole, order=1)
    ours("a cat", **CALL)
    assert runs.count("text_encoder") == 2  # with and without the prompt


def test_a_scale_of_the_unet_leaves_the_prompt_as_it_is(ours, runs, whole):
    add(ours, weights=whole, scale={"unet": 0.5, "text_encoder": 1.0})
    ours("a cat", **CALL)
    runs.clear()
    ours.graph.block("style").scale = {"unet": 0.7, "text_encoder": 1.0}
    ours("a cat", **CALL)
    assert set(runs) == {"unet"}


def test_what_was_before_a_lora_is_still_held(ours, runs, whole):
    before = ours("a cat", **CALL).images
    add(ours, weights=whole)
    ours("a cat", **CALL)
    ours.graph.remove_node("style")
    runs.clear()
    assert torch.equal(ours("a cat", **CALL).images, before)
    assert not runs


def test_another_file_is_another_lora(ours, theirs, whole, tmp_path):
    add(ours, weights=whole)
    first = ours("a cat", **CALL).images
    other = tiny_lora(tmp_path / "other", theirs, SD, seed=9)
    ours.graph.block("style").weights = str(other)
    second = ours("a cat", **CALL).images
    assert not torch.equal(first, second)
    write(other, tiny_factors(theirs, SD, seed=1))  # over it, what the first was
    assert torch.equal(ours("a cat", **CALL).images, first)


def test_at_scale_zero_it_is_as_if_not_there(ours, runs, whole):
    before = ours("a cat", **CALL).images
    runs.clear()
    add(ours, weights=whole, scale=0.0)
    assert torch.equal(ours("a cat", **CALL).images, before)
    assert not runs


def test_the_models_are_bare_between_calls(ours, theirs, whole):
    modules = {name: id(each) for name, each in theirs.unet.named_modules()}
    names = list(theirs.text_encoder.state_dict())
    attributes = set(vars(theirs.unet)), set(vars(theirs.text_encoder))
    wants = [each.requires_grad for each in theirs.unet.parameters()]
    add(ours, weights=whole)
    ours("a cat", **CALL)
    assert {name: id(each) for name, each in theirs.unet.named_modules()} == modules
    assert list(theirs.text_encoder.state_dict()) == names
    assert (set(vars(theirs.unet)), set(vars(theirs.text_encoder))) == attributes
    assert [each.requires_grad for each in theirs.unet.parameters()] == wants


def test_a_run_that_fails_leaves_the_models_bare(ours, theirs, whole):
    before = ours("a cat", **CALL).images
    add(ours, weights=whole)

    def fail(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ours("a cat", **CALL, callback_on_step_end=fail)
    assert not hasattr(theirs.unet, "peft_config")
    ours.graph.remove_node("style")
    ours._runtime.cache.clear()
    assert torch.equal(ours("a cat", **CALL).images, before)


def test_a_run_inside_another_that_changes_its_model_is_refused(ours, theirs, unet_only):
    beside = quiet(InferencePipeline.from_diffusers(theirs))
    expected = beside("a cat", **CALL).images
    beside._runtime.cache.clear()
    add(ours, weights=unet_only)

    def look(*_):
        beside("a cat", **CALL)

    with pytest.raises(ExecutionError, match=r"'unet' .* carries the adapters of another run"):
        ours("a cat", **CALL, callback_on_step_end=look)
    assert torch.equal(beside("a cat", **CALL).images, expected)


def test_no_weights_of_the_model_are_copied(ours, theirs, unet_only):
    add(ours, weights=unet_only)
    ours("a cat", **CALL)
    (graft,) = ours.graph.block("style")._layers._kept.values()
    own = {each.data_ptr() for each in theirs.unet.parameters()}
    held = [each for layer in graft.layers.values() for each in layer.parameters()]
    brought = sum(each.numel() for each in held if each.data_ptr() not in own)
    factors = tiny_factors(theirs, {"unet": NETWORK}, seed=3).values()
    assert brought == sum(each.numel() for each in factors)


def test_of_whole_weights_only_the_last_are_kept(ours, theirs, whole):
    before = ours("a cat", **CALL).images
    add(ours, weights=whole, fuse=True)
    block = ours.graph.block("style")
    images = []
    for scale in (0.2, 0.5, 0.8, 0.2):
        block.scale = scale
        images.append(ours("a cat", **CALL).images)
        # One for each of the two models that it changes.
        assert len(block._layers._kept) == 2
    assert torch.equal(images[0], images[3])
    assert not torch.equal(images[0], images[1])
    ours.graph.remove_node("style")
    ours._runtime.cache.clear()
    assert torch.equal(ours("a cat", **CALL).images, before)


def test_fused_into_the_unet_the_prompt_stays_as_it_is(ours, runs, whole):
    add(ours, weights=whole)
    ours("a cat", **CALL)
    runs.clear()
    images = []
    for factor in (0.5, 0.7):
        ours.fuse_lora(["unet"], factor)
        images.append(ours("a cat", **CALL).images)
        ours.unfuse_lora(["unet"])
    assert set(runs) == {"unet"}
    assert not torch.equal(*images)


def test_fused_it_is_still_switched_and_scaled(ours, whole):
    before = ours("a cat", **CALL).images
    add(ours, weights=whole)
    ours.fuse_lora(["unet"], 0.5)
    block = ours.graph.block("style")
    fused = ours("a cat", **CALL).images
    for setting, value in {"active": False, "enabled": False, "scale": 0.0}.items():
        kept = getattr(block, setting)
        setattr(block, setting, value)
        assert torch.equal(ours("a cat", **CALL).images, before)
        setattr(block, setting, kept)
    block.scale = 0.5
    ours._runtime.cache.clear()
    assert not torch.equal(ours("a cat", **CALL).images, fused)


def test_models_that_are_not_loaded_yet_refuse_to_be_fused_when_they_run(
    tiny_folder, theirs, tmp_path
):
    factors = tiny_factors(theirs, SD)
    next(iter(factors.values()))[0, 0] = torch.inf
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.load_lora_weights(factors, "style")
    pipe.fuse_lora(safe_fusing=True)
    with pytest.raises(ModelError, match=r"is not fused: weights of the layer .* NaN or infinite"):
        pipe("a cat", **CALL)
    pipe.unload_lora_weights()
    assert torch.isfinite(pipe("a cat", **CALL).images).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"lora_scal": 0.5}, r"fuse_lora takes no 'lora_scal'. Did you mean 'lora_scale'"),
        ({"fuse_unet": True}, r"fuse_lora takes no 'fuse_unet'"),
        ({"lora_scale": float("nan")}, r"lora_scale is nan"),
        ({"components": ["unte"]}, r"component 'unte'.* Did you mean 'unet'"),
        ({"components": ["text_encoder_2"]}, r"component 'text_encoder_2', which no LoRA here"),
        ({"components": []}, r"no component: name some"),
        ({"components": "unet"}, r"components='unet': give a list"),
    ],
)
def test_what_cannot_be_meant_by_fusing_is_refused(ours, whole, call, message):
    add(ours, weights=whole)
    with pytest.raises(InputError, match=message):
        ours.fuse_lora(**call)
    assert ours.fused_loras == set()


def test_unfusing_takes_components_alone(ours):
    with pytest.raises(InputError, match=r"unfuse_lora takes no 'component'. Did you mean 'compon"):
        ours.unfuse_lora(component=["unet"])


def test_fused_loras_that_are_taken_away_are_told(ours, whole, caplog):
    before = ours("a cat", **CALL).images
    ours.load_lora_weights(whole, "style")
    ours.fuse_lora()
    ours.unload_lora_weights()
    assert "'style'" in caplog.text
    assert "stay in the weights" in caplog.text
    assert torch.equal(ours("a cat", **CALL).images, before)


def test_those_that_do_not_act_keep_their_order(ours, whole, unet_only):
    names = [f"style_{number}" for number in range(6)]
    for name in names:
        ours.load_lora_weights(unet_only, adapter_name=name)
    ours.set_adapters("style_3")
    orders = {name: ours.graph.nodes[name].order for name in names}
    assert sorted(orders, key=orders.get) == ["style_3", *names[:3], *names[4:]]


@pytest.mark.parametrize("patched", ["base", "refiner"])
def test_stages_that_share_models_do_not_disturb_each_other(theirs, whole, patched):
    second = StableDiffusionImg2ImgPipeline(**theirs.components, requires_safety_checker=False)
    stages = {
        "base": quiet(InferencePipeline.from_diffusers(theirs)),
        "refiner": quiet(InferencePipeline.from_diffusers(second)),
    }
    add(stages[patched], weights=whole)
    links = {"refiner.init_image": "base.images"}
    both = quiet(InferencePipeline.from_combined(stages, links=links))
    call = {"num_inference_steps": 3, "strength": 0.9}
    together = both("a cat", seed=0, output_type="pt", **call).images
    draws = generator()
    image = stages["base"]("a cat", generator=draws, num_inference_steps=3).images[0]
    apart = stages["refiner"]("a cat", image=image, generator=draws, output_type="pt", **call)
    assert torch.equal(together, apart.images)
    stages[patched].unload_lora_weights()
    assert not torch.equal(both("a cat", seed=0, output_type="pt", **call).images, together)


def test_only_the_targets_named_are_changed(ours, theirs, whole, unet_only, tmp_path):
    add(ours, weights=whole, targets=["unet"])
    narrow = ours("a cat", **CALL).images
    ours.graph.remove_node("style")
    factors = tiny_factors(theirs, SD)
    only = write(tmp_path / "part", {k: v for k, v in factors.items() if k.startswith("unet.")})
    add(ours, weights=str(only))
    assert torch.equal(ours("a cat", **CALL).images, narrow)


def test_targets_that_are_not_there_are_told(ours, whole):
    add(ours, weights=whole, targets=["unte"])
    with pytest.raises(GraphError, match=r"'style'.* is to change 'unte', which is no node.*unet"):
        ours("a cat", **CALL)


def test_two_of_one_order_are_refused(ours, whole, unet_only):
    add(ours, "one", weights=whole)
    add(ours, "two", weights=unet_only)
    with pytest.raises(AmbiguousError, match=r"one and two both change .* order=0"):
        ours("a cat", **CALL)


def test_the_order_of_adding_does_not_matter(ours, whole, unet_only):
    add(ours, "one", weights=whole, order=2)
    add(ours, "two", weights=unet_only, order=1)
    first = ours("a cat", **CALL).images
    ours.unload_lora_weights()
    add(ours, "two", weights=unet_only, order=1)
    add(ours, "one", weights=whole, order=2)
    ours._runtime.cache.clear()
    assert torch.equal(ours("a cat", **CALL).images, first)


def test_the_dtype_may_change_after_a_run(whole):
    pipe = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    add(pipe, weights=whole)
    pipe("a cat", **CALL)
    pipe.to(torch.bfloat16)
    theirs = tiny_pipeline().to(torch.bfloat16)
    theirs.load_lora_weights(whole)
    generator = torch.Generator().manual_seed(0)
    call = {name: value for name, value in CALL.items() if name != "seed"}
    expected = theirs("a cat", generator=generator, **call).images
    assert torch.equal(pipe("a cat", **CALL).images, expected)


def test_what_peft_saves_is_loaded(ours, tmp_path):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=5, target_modules=["to_q", "to_v"], init_lora_weights=False)
    model = get_peft_model(tiny_pipeline().unet, config)
    model.save_pretrained(tmp_path / "peft")
    before = ours("a cat", **CALL).images
    add(ours, weights=str(tmp_path / "peft"))
    changed = ours("a cat", **CALL).images
    theirs = tiny_pipeline()
    theirs.unet = model.base_model.model
    call = {name: value for name, value in CALL.items() if name != "seed"}
    expected = theirs("a cat", generator=torch.Generator().manual_seed(0), **call).images
    assert torch.equal(changed, expected)
    assert not torch.equal(changed, before)


def test_another_configuration_beside_a_file_of_peft_is_another_lora(ours, tmp_path):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=5, target_modules=["to_q"], init_lora_weights=False)
    get_peft_model(tiny_pipeline().unet, config).save_pretrained(tmp_path)
    add(ours, weights=str(tmp_path))
    first = ours("a cat", **CALL).images
    beside = tmp_path / "adapter_config.json"
    beside.write_text(beside.read_text().replace('"lora_alpha": 5', '"lora_alpha": 9'))
    second = ours("a cat", **CALL).images
    assert not torch.equal(first, second)
    ours._runtime.cache.clear()
    assert torch.equal(ours("a cat", **CALL).images, second)


def test_old_names_of_diffusers_are_loaded(ours, theirs, tmp_path):
    state = convert_state_dict_to_diffusers(tiny_factors(theirs, {"text_encoder": TEXT}))
    assert any("lora_linear_layer" in name for name in state)
    add(ours, weights=str(write(tmp_path / "old", state)))
    old = ours("a cat", **CALL).images
    ours.unload_lora_weights()
    add(ours, weights=str(tiny_lora(tmp_path / "new", theirs, {"text_encoder": TEXT})))
    assert torch.equal(ours("a cat", **CALL).images, old)


def test_the_scale_in_a_file_counts(ours, theirs, tmp_path):
    factors = tiny_factors(theirs, SD)
    images = []
    for alpha in (1.0, 4.0):
        folder = write(tmp_path / str(alpha), as_kohya(factors, alpha))
        add(ours, weights=str(folder))
        images.append(ours("a cat", **CALL).images)
        ours.unload_lora_weights()
    assert not torch.equal(*images)

"""Workflows: a graph with its inputs in a file that can be run anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from peft import LoraConfig
from PIL import Image

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline, Runner, op, register_block
from yggdrasil.core.errors import (
    GraphFileError,
    InputError,
    ModelError,
    UnknownInputError,
)
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import SolverState

CALL = {"num_inference_steps": 2, "output_type": "pt"}


@register_block("processor/workflows_test_lift")
class Lift(AbstractProcessor):
    """Adds a weight of its own to the latents after every step."""

    def __init__(self) -> None:
        self.amount = torch.nn.Parameter(torch.rand(1))

    @op
    def lift(self, state: SolverState) -> SolverState:
        """Adds to the latents."""
        return state.with_latents(state.latents + self.amount.detach())


@pytest.fixture
def pipe(tiny_folder):
    """Gives a pipeline of a model in a folder."""
    return quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))


@pytest.fixture
def workflow(pipe, tmp_path):
    """Gives a workflow that needs nothing but a prompt."""
    return pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)


def run(path, inputs=None, **options):
    runner = Runner.open(path, **options)
    quiet(runner.pipeline)
    return runner.run(inputs).images


def edit(path, change):
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))
    return path


# -- what a workflow makes -------------------------------------------------------------------------


def test_a_workflow_gives_the_bits_of_the_call(pipe, tmp_path):
    call = {
        **CALL, "image": picture(), "mask_image": mask(), "generator": generator(4),
        "negative_prompt": ["a dog"], "guidance_scale": 4, "strength": np.float32(0.75),
    }  # fmt: skip
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cät", **call)
    assert torch.equal(run(path), pipe("a cät", **call).images)


def test_inputs_take_the_place_of_the_workflows_own(pipe, workflow):
    expected = pipe("a dog", generator=generator(7), **CALL, guidance_scale=3.0).images
    given = {"prompt": "a dog", "generator": generator(7), "guidance_scale": 3.0}
    assert torch.equal(run(workflow, given), expected)
    given["generator"] = None
    assert torch.equal(run(workflow, {**given, "seed": 7}), expected)


def test_a_runner_runs_many_times_and_each_time_the_same(pipe, tmp_path):
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", generator=generator(3), **CALL)
    runner = Runner.open(path)
    quiet(runner.pipeline)
    first = runner.run().images
    assert torch.equal(runner.run().images, first)
    assert not torch.equal(runner.run({"prompt": "a dog"}).images, first)


def test_execute_opens_and_runs(workflow, pipe):
    result = Runner.execute(workflow, {"seed": 5})
    assert torch.equal(result.images, pipe("a cat", seed=5, **CALL).images)


def test_what_is_missing_may_be_given_when_it_is_run(pipe, tmp_path):
    path = pipe.save_workflow(tmp_path / "open.yaml", seed=1, **CALL)
    assert torch.equal(run(path, {"prompt": "a cat"}), pipe("a cat", seed=1, **CALL).images)


def test_a_pipeline_comes_back_as_it_was(pipe, tmp_path):
    pipe.graph.replace_node("solver", "solver/euler", timestep_spacing="trailing")
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat")
    again = quiet(InferencePipeline.from_workflow(path))
    assert again.graph.to_yaml() == pipe.graph.to_yaml()
    call = {**CALL, "seed": 1}
    assert torch.equal(again("a dog", **call).images, pipe("a dog", **call).images)


def test_dtype_and_task_are_kept(tiny_folder, tmp_path):
    pipe = InferencePipeline.from_template(
        "sd15_img2img", pretrained=tiny_folder("sd15"), torch_dtype=torch.bfloat16
    )
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", image=picture())
    again = InferencePipeline.from_workflow(path)
    assert again.task == "img2img"
    assert again.components["unet"].dtype == torch.bfloat16


# -- weights ---------------------------------------------------------------------------------------


def test_models_are_named_and_not_copied(pipe, workflow, tiny_folder):
    pipe("a cat", seed=1, **CALL)  # loads
    pipe.save_workflow(workflow, "a cat", seed=1, **CALL)
    assert yaml.safe_load(workflow.read_text())["model"] == str(tiny_folder("sd15"))
    assert [each.name for each in workflow.parent.iterdir()] == ["cat.yaml"]


def test_objects_are_written_beside_it(tmp_path):
    pipe = quiet(InferencePipeline.from_diffusers(tiny_pipeline(), task=None))
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)
    expected = pipe("a cat", seed=1, **CALL).images
    folder = (tmp_path / "elsewhere").mkdir() or tmp_path / "elsewhere"
    for each in ("cat.yaml", "cat.files"):
        (tmp_path / each).rename(folder / each)
    assert (folder / "cat.files/unet/unet/diffusion_pytorch_model.safetensors").is_file()
    assert torch.equal(run(folder / path.name), expected)


def test_weights_that_were_changed_are_written_and_the_others_named(pipe, tmp_path):
    with torch.no_grad():
        pipe.components["unet"].conv_out.bias[0] += 0.5
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)
    assert torch.equal(run(path), pipe("a cat", seed=1, **CALL).images)
    assert [each.name for each in (tmp_path / "cat.files").iterdir()] == ["unet"]
    # Once more over itself: what it holds is in use.
    again = quiet(InferencePipeline.from_workflow(path))
    again("a cat", seed=1, **CALL)
    again.save_workflow(path, "a cat", seed=1, **CALL)
    assert torch.equal(run(path), pipe("a cat", seed=1, **CALL).images)


def test_weights_of_a_blocks_own_are_written(pipe, tmp_path):
    pipe.graph.add_node("lift", type="processor/workflows_test_lift")
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)
    assert torch.equal(run(path), pipe("a cat", seed=1, **CALL).images)


def test_fresh_components_are_written(tiny_folder, tmp_path):
    config = dict(tiny_pipeline().vae.config)
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.graph.replace_node("vae", "codec/autoencoder_kl", components={"vae": config})
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)
    assert (tmp_path / "cat.files/vae/vae").is_dir()
    assert torch.equal(run(path), pipe("a cat", seed=1, **CALL).images)


def test_stages_that_share_a_model_share_it_again(tmp_path):
    theirs = tiny_pipeline()
    first = InferencePipeline.from_diffusers(theirs)
    second = InferencePipeline.from_diffusers(theirs)
    both = InferencePipeline.from_combined(
        {"base": first, "more": second}, links={"more.init_image": "base.images"}
    )
    call = {**CALL, "seed": 1, "more": {"strength": 0.9}}
    path = quiet(both).save_workflow(tmp_path / "both.yaml", "a cat", **call)
    expected = both("a cat", **call).images
    again = quiet(InferencePipeline.from_workflow(path))
    assert torch.equal(again("a cat", **call).images, expected)
    graphs = [again.graph.block(name).inner_graph for name in ("base", "more")]
    assert graphs[0].block("unet").unet is graphs[1].block("unet").unet


def test_models_of_several_dtypes_are_refused(pipe, tmp_path):
    pipe.components["vae"].half()
    with pytest.raises(InputError, match=r"several dtypes \(torch.float16, torch.float32\)"):
        pipe.save_workflow(tmp_path / "cat.yaml", "a cat")
    assert not [*tmp_path.iterdir()]


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"guidance_scal": 3}, UnknownInputError, "'guidance_scal'.*'guidance_scale'"),
        ({"num_inference_steps": 0}, InputError, "num_inference_steps is 0"),
        (
            {"cross_attention_kwargs": {"scale": print}},
            InputError,
            "builtin_function_or_method, wh",
        ),
        ({"cross_attention_kwargs": {"$scale": 1}}, InputError, r"has the key '\$scale'"),
        (
            {"image": Image.new("CMYK", (64, 64))},
            InputError,
            "mode 'CMYK', which PNG does not keep",
        ),
    ],
)
def test_a_call_that_cannot_be_is_not_saved(pipe, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        pipe.save_workflow(tmp_path / "cat.yaml", "a cat", **given)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", r"cat\.yaml:1: a workflow is a mapping that begins with 'workflow: 1'; this is l"),
        ("workflow: 2\ngraph: {schema: 1}", r"cat\.yaml:1: 'workflow' is 2: input should be 1"),
        ("template: sd15", r"cat\.yaml:1: this is no workflow, which begins with 'workflow: 1'"),
        (
            "workflow: 1\ngraph: {schema: 1}\ndtype: int8",
            r"cat\.yaml:3: 'dtype' is 'int8': weights are in one of float16, bfloat16",
        ),
        (
            "workflow: 1\ngraph: {schema: 1}\ninputs:\n  observers: [1]",
            r"cat\.yaml:\d: 'observers' is no input: it is for the program that makes a call",
        ),
        (
            f"workflow: 1\ngraph: {{schema: 1}}\ninputs: {{a: {'[' * 120}{']' * 120}}}",
            "it is nested more than 100 deep",
        ),
        ("workflow: 1", "a workflow wants a 'graph': what graph.to_yaml"),
        ("workflow: 1\ngrpah: {}\n", r"cat\.yaml:2: there is no key 'grpah'.*'graph'"),
        (
            "workflow: 1\ngraph:\n  schema: 1\n  nodes:\n    vae: {type: codec/autoencoder}",
            r"cat\.yaml:5: No block of type 'codec/autoencoder'.*'codec/autoencoder_kl'",
        ),
        (
            "workflow: 1\ngraph: {schema: 1}\ncomponents:\n  vae.vae: {folder: ../x}",
            r"cat\.yaml:4: 'components.vae.vae.folder' is '../x': string should match",
        ),
        (
            "workflow: 1\ngraph: {schema: 1}\ncomponents:\n  vae.vae: {seed: 1}",
            r"cat\.yaml:4: .*a component comes from one of model, folder, config and given",
        ),
        (
            "workflow: 1\ngraph: {schema: 1}\nstate: {lift: {data: ''}}",
            "'state' names the node 'li",
        ),
        ("workflow: !!python/object:os.system 1", "the tag '!!python/object:os.system' is refused"),
    ],
)
def test_a_workflow_that_says_something_else_is_told_by_line(tmp_path, text, message):
    (tmp_path / "cat.yaml").write_text(text)
    with pytest.raises(GraphFileError, match=message):
        Runner.open(tmp_path / "cat.yaml")


def test_a_workflow_that_is_not_there(tmp_path):
    with pytest.raises(GraphFileError, match=r"There is no workflow '.*cat\.yaml'"):
        Runner.open(tmp_path / "cat.yaml")


def test_files_lie_below_the_workflow_and_are_those_it_was_saved_with(pipe, tmp_path):
    folder = tmp_path / "inner"
    large = Image.effect_noise((64, 64), 100).convert("RGB")
    path = pipe.save_workflow(folder / "cat.yaml", "a cat", image=large, seed=1, **CALL)
    expected = run(path)
    Image.new("RGB", (64, 64)).save(folder / "cat.files/image.png")
    with pytest.raises(GraphFileError, match="is another file than the one that the workflow was"):
        run(path)
    # People may write it themselves, without a hash.
    picture_file = folder / "photos" / "cat.png"
    picture_file.parent.mkdir()
    large.save(picture_file)
    edit(path, lambda data: data["inputs"].update(image={"$picture": {"file": "photos/cat.png"}}))
    assert torch.equal(run(path), expected)
    large.save(tmp_path / "outside.png")
    (folder / "photos" / "link.png").symlink_to(tmp_path / "outside.png")
    edit(path, lambda data: data["inputs"]["image"]["$picture"].update(file="a\0b.png"))
    with pytest.raises(GraphFileError, match=r"'a\\x00b\.png' names no file"):
        run(path)
    for name in ("../outside.png", str(tmp_path / "outside.png"), "photos/link.png"):
        edit(path, lambda data, name=name: data["inputs"]["image"]["$picture"].update(file=name))
        with pytest.raises(
            GraphFileError, match=r"outside\.png' is not below|link.png' is not bel"
        ):
            run(path)


def test_a_model_that_is_not_here_is_fetched_only_when_that_is_allowed(workflow, monkeypatch):
    asked = []

    def download(name, *, local_files_only, **_):
        if not local_files_only:
            asked.append(name)
        raise LocalEntryNotFoundError("no hub")

    monkeypatch.setattr("yggdrasil.hub.snapshot.snapshot_download", download)
    edit(workflow, lambda data: data.update(model="org/name"))
    with pytest.raises(ModelError, match=r"'org/name' is not on this machine.*--allow-dow"):
        Runner.open(workflow)
    assert asked == []
    with pytest.raises(ModelError, match="is no folder here, HF_HUB_OFFLINE is set"):
        Runner.open(workflow, allow_download=True)
    assert asked == ["org/name"]


def test_a_model_in_the_hubs_cache_is_opened_without_asking(
    workflow, tiny_folder, tmp_path, monkeypatch
):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub/models--org--name/snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tiny_folder("sd15"))
    refs = tmp_path / "hub/models--org--name/refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    expected = run(workflow)
    edit(workflow, lambda data: data.update(model="org/name"))
    assert torch.equal(run(workflow), expected)
    edit(workflow, lambda data: data.update(model={"name": "org/name", "revision": commit}))
    assert torch.equal(run(workflow), expected)


def test_another_model_may_be_given(pipe, workflow, tmp_path):
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "other")
    other = quiet(InferencePipeline.from_pretrained(tmp_path / "other"))
    expected = other("a cat", seed=1, **CALL).images
    assert torch.equal(run(workflow, model=tmp_path / "other"), expected)


def test_weights_that_do_not_fit_their_block_are_refused(pipe, tmp_path):
    pipe.graph.add_node("lift", type="processor/workflows_test_lift")
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", seed=1, **CALL)
    edit(path, lambda data: data["state"].update(noise=data["state"].pop("lift")))
    with pytest.raises(GraphFileError, match=r"'noise' do not fit source/gaussian: .*'amount'"):
        Runner.open(path)


def test_a_model_with_adapters_is_not_saved_in_a_form_that_nothing_loads(pipe, tmp_path):
    unet = pipe.components["unet"]
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), adapter_name="style")
    message = "'unet' carries the adapters 'style', which a folder does not hold: fuse them"
    with pytest.raises(InputError, match=message):
        pipe.save_workflow(tmp_path / "cat.yaml", "a cat")
    with pytest.raises(InputError, match=message):
        pipe.save_pretrained(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == []

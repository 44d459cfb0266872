from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import DDPMPipeline, ImagePipelineOutput

from tests.tiny_models import tiny_pipeline
from tests.tiny_whole import call_of, tiny_ddpm, tiny_whole
from yggdrasil import ComputeGraph, InferencePipeline, Runner, TrainingPipeline
from yggdrasil.core.errors import (
    ConfigError,
    GraphError,
    GraphFileError,
    MissingInputError,
    ModelError,
    UnknownInputError,
)
from yggdrasil.pipelines.rerun import rerun

CALL = {"num_inference_steps": 3, "output_type": "np"}


@pytest.fixture(scope="module")
def theirs():
    return tiny_ddpm(DDPMPipeline)


@pytest.fixture(scope="module")
def expected(theirs):
    return theirs(generator=torch.Generator().manual_seed(0), **CALL).images


def test_a_pipeline_without_a_template_gives_its_own_numbers(theirs, expected):
    pipe = InferencePipeline.from_diffusers(theirs)
    assert list(pipe.graph.nodes) == ["pipeline"]
    assert np.array_equal(pipe(seed=0, **CALL).images, expected)


def test_it_is_saved_in_the_layout_of_diffusers_and_loaded_back(theirs, expected, tmp_path):
    InferencePipeline.from_diffusers(theirs).save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for folder in ("ours", "theirs"):
        loaded = InferencePipeline.from_pretrained(tmp_path / folder)
        assert np.array_equal(loaded(seed=0, **CALL).images, expected), folder
    indices = [(tmp_path / each / "model_index.json").read_text() for each in ("ours", "theirs")]
    assert indices[0] == indices[1]
    assert isinstance(DDPMPipeline.from_pretrained(tmp_path / "ours"), DDPMPipeline)


def test_what_was_drawn_is_kept_with_the_state_of_the_generator(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    one, two = (pipe(generator=each, **CALL).images for each in (first, second))
    assert pipe.cache_info().hits == 1
    assert np.array_equal(one, two)
    assert torch.equal(first.get_state(), second.get_state())


def test_a_call_without_a_generator_is_not_kept(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    one, two = (pipe(**CALL).images for _ in range(2))
    assert not np.array_equal(one, two)
    assert pipe.cache_info().entries == 0


def test_weights_that_change_are_noticed(theirs):
    pipe = InferencePipeline.from_diffusers(tiny_ddpm(DDPMPipeline))
    before = pipe(seed=0, **CALL).images
    with torch.no_grad():
        pipe.components["unet"].conv_in.weight.mul_(1.5)
    assert not np.array_equal(before, pipe(seed=0, **CALL).images)


def test_settings_of_a_component_without_weights_that_change_are_noticed():
    theirs = tiny_pipeline(seed=1)
    pipe = InferencePipeline.from_diffusers(theirs, opaque=True)
    call = {"prompt": "a cat", "seed": 0, "num_inference_steps": 2, "output_type": "np"}
    before = pipe(**call).images
    theirs.tokenizer.model_max_length = 9
    after = pipe(**call).images
    expected = theirs(
        "a cat", generator=torch.Generator().manual_seed(0), num_inference_steps=2, output_type="np"
    )
    assert not np.array_equal(after, before)
    assert np.array_equal(after, expected.images)


def test_a_scheduler_in_the_place_of_its_own_is_used(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    other = theirs.scheduler.from_config(theirs.scheduler.config, beta_end=0.5)
    theirs = DDPMPipeline(unet=theirs.unet, scheduler=other)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(generator=torch.Generator().manual_seed(0), **CALL).images
    ours = InferencePipeline.from_pretrained(tmp_path, scheduler=other)
    assert np.array_equal(ours(seed=0, **CALL).images, expected)


def test_a_workflow_of_it_runs(theirs, expected, tmp_path):
    theirs.save_pretrained(tmp_path / "model")
    pipe = InferencePipeline.from_pretrained(tmp_path / "model")
    pipe.save_workflow(tmp_path / "flow.yaml", seed=0, **CALL)
    assert np.array_equal(Runner.execute(tmp_path / "flow.yaml").images, expected)


def test_arguments_that_it_does_not_take_are_named(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    with pytest.raises(UnknownInputError, match=r"no argument 'num_steps'. Did you mean 'num_inf"):
        pipe(seed=0, num_steps=3)


class BrighterPipeline(DDPMPipeline):
    """One's own."""

    @torch.no_grad()
    def __call__(self, lift: float, generator=None) -> ImagePipelineOutput:
        made = super().__call__(generator=generator, **CALL)
        return ImagePipelineOutput(images=made.images + lift)


def test_a_class_of_ones_own_runs_and_is_in_no_file(expected, tmp_path):
    pipe = InferencePipeline.from_diffusers(tiny_ddpm(BrighterPipeline))
    assert np.array_equal(pipe(lift=0.5, seed=0).images, expected + 0.5)
    with pytest.raises(MissingInputError, match="needs 'lift'"):
        pipe(seed=0)
    with pytest.raises(GraphFileError, match="holds a HandedPipeline, which a graph file cannot"):
        pipe.save_pretrained(tmp_path)


@pytest.mark.parametrize("option", ["trust_remote_code", "custom_pipeline"])
def test_code_is_not_fetched(option, tiny_folder):
    with pytest.raises(ConfigError, match=f"{option}=.* would fetch and run code"):
        InferencePipeline.from_pretrained(tiny_folder(), **{option: "anything"})


def test_none_is_handed_on_where_the_default_is_another(tmp_path):
    theirs, call = tiny_whole("SanaPipeline"), call_of("SanaPipeline")
    assert call["complex_human_instruction"] is None
    del call["generator"]
    expected = theirs(**call, generator=torch.Generator().manual_seed(0)).images
    pipe = InferencePipeline.from_diffusers(theirs)
    result = pipe(**call, seed=0)
    assert np.array_equal(result.images, expected)
    stages = InferencePipeline.from_combined({"one": pipe})
    assert np.array_equal(stages(one=call, seed=0).images, expected)
    theirs.save_pretrained(tmp_path / "model")
    loaded = InferencePipeline.from_pretrained(tmp_path / "model")
    loaded.save_workflow(tmp_path / "flow.yaml", seed=0, **call)
    assert np.array_equal(Runner.execute(tmp_path / "flow.yaml").images, expected)


def test_a_picture_of_it_is_made_again(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "model")
    pipe = InferencePipeline.from_pretrained(tmp_path / "model")
    pipe(seed=0, num_inference_steps=3).save(tmp_path / "made.png")
    assert rerun(tmp_path / "made.png").same
    held = InferencePipeline.from_diffusers(theirs)
    held(seed=0, num_inference_steps=3).save(tmp_path / "held.png")
    with pytest.raises(ModelError, match="that was handed in as an object"):
        rerun(tmp_path / "held.png")
    assert rerun(tmp_path / "held.png", model=tmp_path / "model").same


def test_what_is_returned_without_a_dict_is_what_diffusers_returns(theirs, expected):
    pipe = InferencePipeline.from_diffusers(theirs)
    (images,) = pipe(seed=0, **CALL, return_dict=False)
    assert np.array_equal(images, expected)


def test_the_form_of_the_result_is_the_pipelines_own_unless_given():
    theirs = tiny_whole("WanPipeline")
    call = {**call_of("WanPipeline")}
    del call["output_type"]
    result = InferencePipeline.from_diffusers(theirs)(**call)
    assert isinstance(result.outputs["frames"], np.ndarray)  # the default of this one
    again = InferencePipeline.from_diffusers(theirs)(**call, output_type="pil")
    assert isinstance(again.outputs["frames"][0][0], PIL.Image.Image)


def test_plans_and_drawings_say_that_it_is_opaque(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    assert "# DDPMPipeline (opaque)" in pipe.plan(seed=0).describe()
    assert "DDPMPipeline (opaque)" in pipe.graph.draw("svg")
    assert "DDPMPipeline (opaque)" in pipe.graph.draw("mermaid")


@pytest.mark.parametrize("node", ["pipeline", "unet"])
def test_nothing_inside_it_is_trained(theirs, node):
    graph = InferencePipeline.from_diffusers(theirs).graph
    with pytest.raises(
        ConfigError, match=rf"'{node}', and DDPMPipeline \(opaque\) runs whole: Diff"
    ):
        TrainingPipeline(graph, train_nodes=[node])


def test_nodes_that_work_inside_a_loop_are_refused_beside_it(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    pipe.graph.add_node("guidance", "guidance/cfg")
    with pytest.raises(GraphError, match=r"Node 'guidance' \(guidance\) .* works inside a loop"):
        pipe(seed=0, **CALL)
    pipe.graph.remove_node("guidance")
    assert pipe(seed=0, **CALL).images.shape == (1, 8, 8, 3)


def test_templates_go_before_it_unless_asked():
    theirs = tiny_pipeline()
    assert "unet" in InferencePipeline.from_diffusers(theirs).graph.nodes
    whole = InferencePipeline.from_diffusers(theirs, opaque=True)
    assert list(whole.graph.nodes) == ["pipeline"]
    call = {"prompt": "a cat", "num_inference_steps": 2, "output_type": "np"}
    expected = theirs(**call, generator=torch.Generator().manual_seed(0)).images
    assert np.array_equal(whole(**call, seed=0).images, expected)


def test_a_folder_of_a_class_that_nobody_has_is_refused(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace('"DDPMPipeline"', '"DDPMPipelin"'))
    with pytest.raises(ModelError, match=r"is a DDPMPipelin, .* Did you mean 'DDPMPipeline'"):
        InferencePipeline.from_pretrained(tmp_path)
    index.write_text(index.read_text().replace('"DDPMPipelin"', '"KolorsPipeline"'))
    with pytest.raises(ModelError, match="KolorsPipeline needs sentencepiece, which is not inst"):
        InferencePipeline.from_pretrained(tmp_path)


def test_a_block_of_a_graph_is_loaded_from_the_model_that_it_names(theirs, expected, tmp_path):
    theirs.save_pretrained(tmp_path)
    graph = ComputeGraph("small")
    graph.add_node(
        "small",
        "outer_module/diffusers_pipeline",
        pipeline="DDPMPipeline",
        pretrained=str(tmp_path),
    )
    graph.expose_output("images", "small.run.images")
    graph = ComputeGraph.from_yaml(graph.to_yaml())
    pipe = InferencePipeline.from_graph(graph)
    assert np.array_equal(pipe(seed=0, **CALL).images, expected)

"""The graph of a pipeline may be edited between calls."""

from __future__ import annotations

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from yggdrasil import InferencePipeline, op, register_block
from yggdrasil.core.errors import MissingInputError, UnknownInputError
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import SolverState

CALL = {"num_inference_steps": 3, "output_type": "pt", "seed": 0}


@register_block("processor/pipelines_test_brighten")
class Brighten(AbstractProcessor):
    """Lifts the latents a little after every step."""

    def __init__(self, amount: float = 0.01) -> None:
        self.amount = amount

    @op
    def lift(self, state: SolverState) -> SolverState:
        """Adds to the latents."""
        return state.with_latents(state.latents + self.amount)


def test_another_solver_gives_the_bits_of_diffusers_with_it(ours, theirs):
    before = ours("a cat", **CALL).images
    ours.graph.replace_node("solver", "solver/euler", use_karras_sigmas=True)
    after = ours("a cat", **CALL).images
    pipe = StableDiffusionPipeline(**theirs.components, requires_safety_checker=False)
    pipe.scheduler = EulerDiscreteScheduler.from_config(
        theirs.scheduler.config, use_karras_sigmas=True
    )
    call = {"num_inference_steps": 3, "output_type": "pt"}
    assert torch.equal(after, quiet(pipe)("a cat", generator=generator(), **call).images)
    ours.graph.replace_node("solver", "solver/pndm")
    assert torch.equal(ours("a cat", **CALL).images, before)


def test_a_block_is_spliced_into_the_loop_and_taken_out_again(ours, encodings):
    before = ours("a cat", **CALL).images
    ours.graph.add_node("brighten", type="processor/pipelines_test_brighten", amount=0.02)
    brighter = ours("a cat", **CALL)
    assert not torch.equal(brighter.images, before)
    ours.graph.remove_node("brighten")
    assert torch.equal(ours("a cat", **CALL).images, before)
    assert len(encodings) == 2  # the prompt does not depend on it


def test_a_spliced_block_acts_after_each_step(ours):
    ours.graph.replace_node("solver", "solver/ddim")
    ours.graph.add_node("brighten", type="processor/pipelines_test_brighten", amount=0.02)
    spliced = ours("a cat", **CALL).latents
    ours.graph.remove_node("brighten")

    def lift(_, __, ___, values):
        return {"latents": values["latents"] + 0.02}

    by_hand = ours("a cat", **CALL, callback_on_step_end=lift).latents
    assert torch.equal(spliced, by_hand)


@pytest.mark.parametrize("node", ["vae", "unet", "text", "noise", "guidance"])
def test_a_node_that_is_taken_away_and_put_back_gives_the_bits_of_before(theirs, ours, node):
    if node == "vae":
        for alias in ("masked",):
            ours.graph.remove_node(alias)
    before = ours("a cat", **CALL).images
    kind = ours.graph.block(node).type_name
    ours.graph.remove_node(node)
    ours.graph.add_node(node, type=kind)
    if node == "vae":
        ours.graph.add_node("masked", use="vae", role="masked_codec")
    assert torch.equal(ours("a cat", **CALL).images, before)
    assert ours.components["unet"] is theirs.unet


def test_without_the_decoder_there_are_still_latents(ours):
    expected = ours("a cat", **CALL).latents
    result = ours("a cat", **{**CALL, "output_type": "latent"})
    ours.graph.remove_node("image")
    bare = ours("a cat", **CALL)
    assert torch.equal(result.latents, expected)
    assert torch.equal(bare.latents, expected)
    assert bare.images is None
    assert set(bare.outputs) == {"latents"}


def test_tasks_outlive_the_nodes_that_they_name(ours):
    given = {"image": picture(), "strength": 0.9, **CALL}
    before, changed = ours("a cat", **CALL).images, ours("a cat", **given).images
    for node in ("masked", "mask", "blend", "channels", "embed"):
        ours.graph.remove_node(node)
    assert torch.equal(ours("a cat", **CALL).images, before)
    assert torch.equal(ours("a cat", **given).images, changed)
    ours.graph.remove_node("guidance")
    with pytest.raises(UnknownInputError, match="guidance_scale"):
        ours("a cat", guidance_scale=3.0, **CALL)
    assert ours("a cat", **CALL).images.shape == before.shape


def test_an_explicit_edge_beats_the_rules(ours):
    ours.graph.add_node("other", type="source/gaussian")
    ours.graph.connect("other.sample", "solver.start.noise")
    assert ours("a cat", **CALL).images.shape == (1, 3, 64, 64)


def test_two_pipelines_may_run_one_graph(theirs, ours):
    other = quiet(InferencePipeline(ours.graph, task="img2img"))
    assert torch.equal(
        other("a cat", image=picture(), **CALL).images,
        ours("a cat", image=picture(), **CALL).images,
    )
    with pytest.raises(MissingInputError, match="needs 'image'"):
        other("a cat")

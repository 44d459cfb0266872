from __future__ import annotations

import pytest
import torch

from tests.core.graphs import chain, diffusion
from tests.core.toys import Add, Double
from yggdrasil.core.errors import ConnectError, UnknownInputError
from yggdrasil.core.graph import ComputeGraph


def test_the_taken_candidate_and_those_passed_over():
    text = diffusion().explain("solver.model_output", {"prompt": "a"})
    assert text.splitlines() == [
        "solver.step.model_output: prediction (n) (required), given prompt:",
        "  -> guidance.combine.prediction: rule solver.step.model_output: guidance.combine",
        (
            "     net.predict.prediction: rule solver.step.model_output: backbone.predict; "
            "passed over: later in order"
        ),
    ]


def test_what_is_not_there_is_said():
    graph = diffusion().remove_node("guidance")
    text = graph.explain("net.predict.conditioning", {"prompt": "a"})
    assert "rule backbone.predict.conditioning: guidance.branches; passed over: no node" in text
    assert "-> text.encode.embedding" in text


def test_what_is_not_available_is_said():
    text = diffusion().explain("solver.start.init_latents", {"prompt": "a"})
    assert "vae.sample.latents: rule solver.start.init_latents: codec.sample" in text
    assert "passed over: not available given these inputs" in text
    assert "-> its default, None" in text
    text = diffusion().explain("solver.start.init_latents", {"init_image": torch.ones(3)})
    assert "-> vae.sample.latents" in text


def test_inputs_that_are_not_given():
    text = diffusion().explain("solver.start.noise", {"prompt": "a"})
    assert "$latents: rule solver.start.noise: $latents; passed over: not given" in text
    assert "-> noise.sample.noise" in text
    text = diffusion().explain("solver.start.noise")
    assert "-> $latents: rule solver.start.noise: $latents; if it is given" in text
    assert "-> noise.sample.noise" in text


def test_references_by_node_op_and_role_mean_the_same():
    graph = diffusion()
    expected = graph.explain("net.predict.sample")
    for text in ("net.sample", "backbone.sample", "backbone.predict.sample"):
        assert graph.explain(text) == expected
    assert graph.explain("toy_backbone/linear.sample") == expected


def test_several_inputs_are_several_paragraphs():
    text = diffusion().explain("solver.state")
    assert len(text.split("\n\n")) == 4
    assert "from the second step on: blend.blend.solver_state (carried by the loop)" in text


def test_splices_edges_names_and_defaults():
    graph = chain(Add(), Double()).expose_input("middle", "n1.run.x")
    text = graph.explain("n1.x", {"x": 1})
    assert "$middle: exposed input; passed over: not given" in text
    assert "-> n0.run.number: explicit edge" in text
    assert "-> $x: by name" in graph.explain("n0.x", {"x": 1})
    graph = ComputeGraph().add_node("mix", "toy/mix", inputs={"b": 3})
    assert "-> 3: node default" in graph.explain("mix.b", {"a": 1})
    text = diffusion().explain("blend.state")
    assert "-> solver.step.solver_state: splice" in text


def test_a_value_given_by_its_port_beats_all():
    text = chain(Add(), Double()).explain("n1.x", {"n1.run.x": 1})
    assert "-> $n1.run.x: given in the call, which beats every edge" in text
    assert "explicit edge; passed over: later in order" in text or "not available" in text


def test_many_and_ambiguous_inputs():
    graph = diffusion().add_node("c", "toy_control/net").add_node("d", "toy_control/net", order=1)
    text = graph.explain("net.residuals", {"prompt": "a", "control_image": torch.ones(1)})
    assert "(takes all there are, by their nodes' order)" in text
    assert "-> c.look.residuals or d.look.residuals" in text
    graph.add_node("other", "toy_backbone/linear")
    text = graph.explain("guidance.combine.prediction", {"prompt": "a"})
    assert "ambiguous: graph.connect must say which" in text


def test_what_nothing_gives():
    graph = ComputeGraph("g", rules=diffusion().rules).add_node("net", "toy_backbone/linear")
    text = graph.explain("net.sample")
    assert "rule backbone.predict.sample: solver.tick.sample; passed over: no node" in text
    assert "nothing gives it: graph.connect('...', 'net.predict.sample')" in text
    assert "net.predict itself cannot run" in text


def test_wrong_references_are_refused_with_the_nearest():
    with pytest.raises(
        ConnectError, match=r"'net.sampel'.*no such input. Did you mean 'net.sample'"
    ):
        diffusion().explain("net.sampel")
    with pytest.raises(UnknownInputError, match="no input 'promt'"):
        diffusion().explain("net.sample", {"promt": "a"})

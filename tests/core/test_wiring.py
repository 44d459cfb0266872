from __future__ import annotations

import pytest
import torch

from tests.core.graphs import RULES, chain, diffusion, one, seeded
from tests.core.toys import Add, Blend, Codec, Control, Double, Gather, Mix, Weigh, calls, ran
from yggdrasil.core.errors import (
    AmbiguousError,
    MissingInputError,
    UnknownInputError,
    UnknownOutputError,
)
from yggdrasil.core.explaining import explain
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.registry import register_block
from yggdrasil.core.rules import Rule
from yggdrasil.core.runtime import Runtime

IMAGE = torch.tensor([1.0, 2.0, 3.0])
MASK = torch.tensor([1.0, 0.0, 1.0])


def vertices(plan):
    return [str(call.vertex) for call in plan.calls()]


def test_the_inputs_decide_the_task():
    runtime = Runtime(diffusion())
    prompt = {"prompt": "abc", "generator": seeded()}
    txt2img = vertices(runtime.plan(prompt))
    img2img = vertices(runtime.plan({**prompt, "init_image": IMAGE}))
    inpaint = vertices(runtime.plan({**prompt, "init_image": IMAGE, "mask": MASK}))
    assert "vae.encode" not in txt2img
    assert set(img2img) == {*txt2img, "vae.encode", "vae.sample"}
    assert set(inpaint) == {*img2img, "blend.blend"}


def test_a_mask_without_a_picture_is_unread():
    plan = Runtime(diffusion()).plan({"prompt": "a", "mask": MASK})
    assert plan.unread == {"mask"}


def test_none_is_not_given():
    runtime = Runtime(diffusion())
    plain = runtime.plan({"prompt": "a"})
    assert runtime.plan({"prompt": "a", "init_image": None, "mask": None}) is plain


def test_asking_for_latents_never_touches_the_decoder():
    runtime = Runtime(diffusion())
    result = runtime.run({"prompt": "a", "generator": seeded()}, ["latents"])
    assert list(result) == ["latents"]
    assert "decode" not in calls


def test_an_optional_input_is_left_out_and_a_block_may_decline_to_read_it():
    runtime = Runtime(diffusion())
    assert "text.encode_negative" in vertices(runtime.plan({"prompt": "a", "scale": 2.0}))
    plan = runtime.plan({"prompt": "a", "negative_prompt": "b", "scale": 1.0})
    assert "text.encode_negative" not in vertices(plan)
    assert plan.unread == frozenset(), "it was the block's choice not to read it"


def test_the_old_edge_comes_back_when_a_node_is_taken_away():
    graph = diffusion()
    runtime = Runtime(graph)
    given = {"prompt": "a", "generator": seeded()}
    assert "model_output=guidance.combine" in str(runtime.plan(given))
    graph.remove_node("guidance")
    plan = str(runtime.plan(given))
    assert "model_output=net.predict.prediction" in plan
    assert "conditioning=text.encode" in plan
    graph.add_node("guidance", "toy_guidance/push")
    assert "model_output=guidance.combine" in str(runtime.plan(given))


def test_explicit_edges_beat_rules_and_disconnecting_brings_them_back():
    graph = diffusion().connect("net.predict", "solver.step.model_output")
    runtime = Runtime(graph)
    assert "model_output=net.predict" in str(runtime.plan({"prompt": "a"}))
    graph.disconnect("solver.step.model_output")
    assert "model_output=guidance.combine" in str(runtime.plan({"prompt": "a"}))


def test_given_values_beat_edges():
    graph = chain(Add(), Double())
    runtime = Runtime(graph)
    assert runtime.run({"n1.run.x": one(7)}, ["n1.run"]) == {"n1.run": one(14)}
    assert runtime.run({"n1.x": one(8)}, ["n1.run"]) == {"n1.run": one(16)}
    assert ran("add") == 0
    given = {"prompt": "a", "net.predict.conditioning": torch.zeros(1), "generator": seeded()}
    assert "text" not in str(Runtime(diffusion()).plan(given, ["latents"]))


def test_exposed_inputs_name_ports_and_beat_edges():
    graph = chain(Add(), Double()).expose_input("middle", "n1.run.x")
    runtime = Runtime(graph)
    assert runtime.run({"middle": one(3)}, ["n1.run"]) == {"n1.run": one(6)}
    assert runtime.run({"x": one(3)}, ["n1.run"]) == {"n1.run": one(8)}


@register_block("toy_processor/derived_blend")
class DerivedBlend(Blend):
    pass


@register_block("toy_codec/derived_shift")
class DerivedCodec(Codec):
    pass


class UnregisteredCodec(DerivedCodec):
    pass


INPAINT = {"prompt": "a", "init_image": IMAGE, "mask": MASK}


@pytest.mark.parametrize("codec", [DerivedCodec, UnregisteredCodec])
def test_a_derived_type_is_wired_as_its_base(codec):
    plain = str(Runtime(diffusion()).plan(INPAINT))
    graph = diffusion().replace_node("blend", "toy_processor/derived_blend")
    graph.replace_node("vae", codec())
    assert str(Runtime(graph).plan(INPAINT)) == plain
    assert "rule toy_codec/shift.encode.init_image" in explain(graph, "vae.encode.init_image")
    assert explain(graph, "toy_codec/shift.encode.init_image").startswith("vae.encode.init_image")


def test_rules_of_a_derived_type_go_before_those_of_its_base():
    own = Rule("toy_codec/derived_shift.encode.init_image", ("$other_image",))
    graph = diffusion().replace_node("vae", UnregisteredCodec())
    graph.rules = (*RULES, own)
    given = {"prompt": "a", "init_image": IMAGE, "other_image": IMAGE}
    assert "init_image=$other_image" in str(Runtime(graph).plan(given))
    assert "init_image=$init_image" in str(Runtime(graph).plan({**given, "other_image": None}))


def test_a_source_is_of_the_type_itself_before_those_derived_from_it():
    graph = ComputeGraph(rules=(Rule("block.run.a", ("toy_codec/shift.decode",)),))
    graph.add_node("mix", Mix()).add_node("derived", DerivedCodec())
    candidates = Runtime(graph).wiring().inputs
    assert "derived.decode" in str(candidates["mix", "run"]["a"].choices[0][0])
    graph.add_node("vae", Codec())
    candidates = Runtime(graph).wiring().inputs
    assert [str(each) for each in candidates["mix", "run"]["a"].choices[0]] == ["vae.decode.image"]


def test_an_alias_is_of_no_type():
    graph = diffusion().add_node("twin", use="vae", role="other")
    assert "rule" not in explain(graph, "twin.encode.init_image")


def test_auto_connect_false_hides_a_node_from_the_rules_for_good():
    graph = diffusion(guidance={"auto_connect": False})
    plan = str(Runtime(graph).plan({"prompt": "a"}))
    assert "guidance" not in plan
    assert graph.nodes["guidance"].auto_connect is False
    graph.connect("net.predict", "guidance.combine.prediction")
    graph.connect("guidance.combine", "solver.step.model_output")
    assert "model_output=guidance.combine" in str(Runtime(graph).plan({"prompt": "a"}))


def test_two_candidates_are_an_error_with_the_line_to_type():
    graph = diffusion().add_node("other", "toy_backbone/linear")
    line = r"net.predict.prediction or other.predict.prediction.*graph.connect\('net.predict.pred"
    with pytest.raises(AmbiguousError, match=line):
        Runtime(graph).plan({"prompt": "a"})
    graph.connect("other.predict", "guidance.combine.prediction")
    assert "other.predict" in str(Runtime(graph).plan({"prompt": "a"}))


def test_a_missing_input_is_named_at_its_root():
    message = r"'image' of graph 'toy' needs the input 'prompt', .*text.encode.prompt \(prompt\)"
    with pytest.raises(MissingInputError, match=message):
        Runtime(diffusion()).run({})


def test_what_no_node_gives_is_said():
    graph = ComputeGraph("g", rules=(Rule("block.run.a", ("codec.sample",)),))
    graph.add_node("mix", Mix())
    with pytest.raises(MissingInputError, match=r"needs mix.run.a \(number \(n\)\), and no node"):
        Runtime(graph).plan({}, ["mix.run"])


def test_unknown_names_are_refused_with_the_nearest():
    runtime = Runtime(diffusion())
    with pytest.raises(UnknownInputError, match=r"no input 'promt'. Did you mean 'prompt'"):
        runtime.plan({"promt": "a"})
    with pytest.raises(UnknownOutputError, match=r"no output 'imag'. Did you mean 'image'"):
        runtime.plan({"prompt": "a"}, ["imag"])
    with pytest.raises(UnknownOutputError, match="exposes no output: name what you want"):
        Runtime(chain(Add())).plan({"x": one(1)})


def test_outputs_are_asked_for_by_name_or_by_port():
    runtime = Runtime(diffusion())
    given = {"prompt": "abc", "generator": seeded()}
    result = runtime.run(given, ["latents", "solver.finish.latents", "text.encode"])
    assert result["latents"] is result["solver.finish.latents"]
    assert torch.equal(result["text.encode"], one(3))


def test_defaults_of_nodes_and_graphs():
    graph = chain(Add(), Add())
    graph.add_node("mix", Mix(), inputs={"b": one(5)}).connect("n1", "mix.a")
    graph.defaults["x"] = one(1)
    assert Runtime(graph).run({}, ["mix.run"]) == {"mix.run": one(3 - 10)}
    assert Runtime(graph).run({"x": one(2)}, ["mix.run"]) == {"mix.run": one(4 - 10)}


def test_a_default_whose_node_is_gone_does_no_harm():
    graph = diffusion()
    graph.defaults["scale"] = 3.0
    assert "scale" in Runtime(graph).plan({"prompt": "a"}).inputs
    graph.remove_node("guidance")
    assert "scale" not in Runtime(graph).plan({"prompt": "a"}).inputs


def test_an_alias_is_a_second_vertex_on_the_same_block():
    graph = ComputeGraph()
    graph.add_node("weigh", Weigh()).add_node("again", use="weigh").add_node("mix", Mix())
    graph.connect("weigh", "again").connect("again", "mix.a").connect("weigh", "mix.b")
    result = Runtime(graph).run({"x": one(3)}, ["mix.run"])
    assert torch.equal(result["mix.run"], one(12 - 12))
    assert sum(1 for _ in graph.block("again").parameters()) == 1


def test_an_alias_plays_a_role_of_its_own():
    graph = diffusion().add_node("second", use="vae", role="masked_codec")
    plan = str(Runtime(graph).plan({"prompt": "a", "init_image": IMAGE, "generator": seeded()}))
    assert "second" not in plan, "rules for the type are not rules for the alias"


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_many_sources_stand_by_order_and_never_by_name(names):
    first, second = names
    graph = diffusion()
    graph.add_node(second, Control(10.0), order=2).add_node(first, Control(1.0), order=1)
    given = {"prompt": "a", "control_image": one(1), "generator": seeded()}
    plan = str(Runtime(graph).plan(given))
    assert f"residuals=[{first}.look.residuals, {second}.look.residuals]" in plan


def test_a_tie_that_would_change_bits_is_an_error():
    graph = diffusion().add_node("a", Control()).add_node("b", Control())
    given = {"prompt": "a", "control_image": one(1)}
    with pytest.raises(AmbiguousError, match=r"a and b both feed net.predict.residuals.*order=0"):
        Runtime(graph).plan(given)
    assert "look" not in str(Runtime(graph).plan({"prompt": "a"})), "without its picture"


def test_groups_are_two_loops_in_one_graph():
    graph = ComputeGraph("two", rules=RULES)
    for group, factor in (("base", 1.0), ("refiner", 1.0)):
        graph.add_node(f"{group}_net", "toy_backbone/linear", group=group)
        graph.add_node(f"{group}_solver", "toy_solver/halving", group=group)
        del factor
    graph.add_node("text", "toy_conditioner/text")
    graph.add_node("noise", "toy_source/noise", group="base")
    graph.add_node("layout", "toy_layout/width", group="base")
    graph.connect("base_solver.finish", "refiner_solver.start.init_latents")
    graph.connect("noise.sample", "refiner_solver.start.noise")
    graph.expose_output("latents", "refiner_solver.finish")
    plan = Runtime(graph).plan({"prompt": "a", "generator": seeded()})
    text = str(plan)
    assert text.count("loop over") == 2
    assert text.index("base_net.predict") < text.index("refiner_net.predict")
    assert "conditioning=text.encode" in text
    result = Runtime(graph).run({"prompt": "a", "generator": seeded(), "strength": 0.5})
    assert result["latents"].shape == (3,)


def test_what_is_not_connected_does_not_run():
    graph = chain(Add(), Double()).add_node("alone", Add(tag="alone"))
    Runtime(graph).run({"x": one(1)}, ["n1.run"])
    assert ran("alone") == 0


def test_a_rule_of_the_graph_stands_before_the_general_ones():
    rules = (*RULES, Rule("codec.decode.latents", ("solver.start_over", "codec.sample")))
    graph = diffusion()
    graph.rules = rules
    given = {"prompt": "a", "init_image": IMAGE, "generator": seeded()}
    assert "decode(latents=vae.sample.latents)" in str(Runtime(graph).plan(given))


def test_new_rules_are_noticed():
    graph = diffusion()
    runtime = Runtime(graph)
    given = {"prompt": "a", "init_image": IMAGE, "generator": seeded()}
    runtime.plan(given)
    graph.rules = (*RULES, Rule("codec.decode.latents", ("codec.sample",)))
    assert "decode(latents=vae.sample.latents)" in str(runtime.plan(given))


def test_values_that_cannot_be_right_are_refused_before_anything_runs():
    runtime = Runtime(diffusion())
    for _ in range(2):  # the second time the plan is known
        with pytest.raises(Exception, match="scale is NaN"):
            runtime.run({"prompt": "a", "scale": float("nan")})
    runtime.run({"prompt": "a", "scale": 2.0, "generator": seeded()})
    with pytest.raises(Exception, match="scale is NaN"):
        runtime.run({"prompt": "a", "scale": float("nan"), "generator": seeded()})
    assert ran("encode_text") == 1


def test_gather_without_sources_gets_an_empty_tuple():
    graph = ComputeGraph().add_node("gather", Gather())
    assert torch.equal(Runtime(graph).run({}, ["gather.run"])["gather.run"], torch.zeros(1))

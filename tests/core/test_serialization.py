from __future__ import annotations

import math

import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.graphs import NODES, RULES, diffusion, one, seeded
from tests.core.toys import Add
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import GraphFileError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.registry import register_block
from yggdrasil.core.rules import Rule
from yggdrasil.core.runtime import Runtime

FULL = """\
schema: 1
name: full
nodes:
  add: {type: toy/add, group: base, order: 2, auto_connect: false, inputs: {x: 3}, n: 2.5}
  again: {use: add, role: other}
  inner:
    graph:
      name: inside
      nodes:
        double: {type: toy/double}
      outputs: {big: double.run.number}
  text: {type: toy_conditioner/text, pretrained: some/model, components: {tokenizer: folder}}
edges:
  - add.run.number -> again.run.x
inputs:
  number: [add.run.x]
outputs:
  out: again.run.number
defaults:
  number: 1.5
rules:
  - target: codec.decode.latents
    sources: [solver.finish, $latents]
    mode: corrupt
    carried: self.step
    until: done
draws: [codec.sample, source.sample]
tasks:
  txt2img:
    takes: [prompt]
"""


@register_block("toy/settings")
class Settings(AbstractBaseBlock):
    def __init__(
        self,
        number: float = 1.0,
        *,
        whole: int = 1,
        flag: bool = True,
        text: str | None = None,
        several: tuple[int, ...] = (1, 2),
        table: dict | None = None,
        thing: object = torch.float32,
        **more: object,
    ) -> None:
        pass


def test_everything_survives_the_round_trip():
    graph = ComputeGraph.from_yaml(FULL)
    text = graph.to_yaml()
    again = ComputeGraph.from_yaml(text)
    assert again.to_yaml() == text
    node = graph.nodes["add"]
    assert (node.group, node.order, node.auto_connect, node.inputs) == ("base", 2, False, {"x": 3})
    assert graph.block("add").n == 2.5
    assert graph.nodes["text"].pretrained == "some/model"
    assert graph.nodes["text"].components == {"tokenizer": "folder"}
    assert graph.rules == (
        Rule("codec.decode.latents", ("solver.finish", "$latents"), "corrupt", "self.step", "done"),
    )
    assert graph.draws == ("codec.sample", "source.sample")
    assert list(graph.block("inner").ops()["run"].outputs) == ["big"]
    assert yaml.safe_load(text) == yaml.safe_load(FULL)


def test_a_graph_that_was_read_computes_the_same():
    call = {"prompt": "abc", "init_image": torch.ones(3), "generator": seeded()}
    expected = Runtime(diffusion()).run(call)["image"]
    graph = ComputeGraph.from_yaml(diffusion().to_yaml())
    assert graph.rules == RULES
    assert torch.equal(Runtime(graph).run(call | {"generator": seeded()})["image"], expected)


def test_a_graph_is_read_from_a_file(tmp_path):
    file = tmp_path / "graph.yaml"
    file.write_text(FULL, encoding="utf-8")
    assert ComputeGraph.from_yaml(file).to_yaml() == ComputeGraph.from_yaml(FULL).to_yaml()
    assert ComputeGraph.from_yaml(str(file)).name == "full"
    assert ComputeGraph.from_yaml("{schema: 1, name: short}").name == "short"


def test_a_subclass_reads_itself():
    class Mine(ComputeGraph):
        pass

    assert type(Mine.from_yaml(FULL)) is Mine
    assert type(Mine.from_yaml(FULL).nodes["inner"].block.inner_graph) is Mine


def test_only_what_is_not_the_default_is_written():
    text = ComputeGraph("g").add_node("s", Settings()).to_yaml()
    assert text == "schema: 1\nname: g\nnodes:\n  s: {type: toy/settings}\n"
    text = ComputeGraph("g").add_node("s", Settings(1.0, several=[1, 2], flag=True)).to_yaml()
    assert "{type: toy/settings}" in text
    text = ComputeGraph("g").add_node("s", Settings(1, whole=True, extra=3)).to_yaml()
    assert "{type: toy/settings, number: 1, whole: true, extra: 3}" in text


@pytest.mark.parametrize("order", [tuple(NODES), tuple(reversed(NODES))])
def test_equal_graphs_give_equal_text(order):
    graph = ComputeGraph("toy", rules=RULES)
    for name in order:
        graph.add_node(name, **NODES[name])
    for name in ("b", "a") if order[0] == "text" else ("a", "b"):
        graph.add_node(name, "toy/add")
    graph.defaults = {"x": 1, "a": 2} if order[0] == "text" else {"a": 2, "x": 1}
    graph.expose_output("z" if order[0] == "text" else "a", "a.run")
    graph.expose_output("a" if order[0] == "text" else "z", "a.run")
    assert graph.to_yaml() == TEXT.setdefault("text", graph.to_yaml())


TEXT: dict[str, str] = {}

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)))
    | st.sampled_from(["yes", "1e-5", "007", "0x1F", "1_000", "~", "null", ".inf", "2024-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("ab: -#", max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
@example("a\x85b")
@example("\u2028")
@example("a\u2029 b")
@example("\ufeffa")
@example("a\r\nb\r")
@example("\x00\x1b\x7f\x9f\U0010ffff")
@example({"a\x85b": ["\u2028", {"\ufeff": "\x85"}]})
@example("\x85 ä " * 60)
def test_plain_data_survives_to_the_bit(value):
    graph = ComputeGraph("g").add_node("s", Settings(table={"value": value}, text="yes"))
    again = ComputeGraph.from_yaml(graph.to_yaml())
    found = again.block("s").config["table"]["value"]
    assert repr(found) == repr(value)
    assert again.to_yaml() == graph.to_yaml()


def test_numbers_are_read_as_people_mean_them():
    graph = ComputeGraph.from_yaml(
        "{schema: 1, defaults: {a: 1e-5, b: yes, c: on, d: .inf, e: -.5, f: 0x10, g: 1.0e+3}}"
    )
    assert graph.defaults == {
        "a": 1e-5, "b": "yes", "c": "on", "d": math.inf, "e": -0.5, "f": 16, "g": 1000.0,
    }  # fmt: skip


def test_anchors_may_be_used():
    text = "schema: 1\ntasks:\n  a: {takes: &all [x, y]}\n  b: {takes: *all}\n"
    assert ComputeGraph.from_yaml(text).tasks["b"] == {"takes": ["x", "y"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 1\nname: [a", r"^graph:2: this is no valid YAML: .*flow sequence"),
        ("schema: 1\nname: a\n\tb: c\n", r"^graph:3: this is no valid YAML"),
        ("schema: 1\n---\nschema: 1\n", r"no valid YAML: .*single document"),
        (
            "\n\n",
            r"^graph:1: a graph file is a mapping that begins with 'schema: 1'; this is empty",
        ),
        ("- a\n- b\n", r"this is list"),
        ("name: a\n", r"does not say its schema version. Write 'schema: 1' as its first line"),
        ("schema: 7\nname: a\n", r"^graph:1: .*version 7; this YggDrasil reads version 1.*update"),
        ("schema: one\nname: a\n", r"version 'one'; .*write 'schema: 1'"),
        ("schema: 1\nnode: {}\n", r"^graph:2: a graph has no key 'node'. Did you mean 'nodes'"),
        ("schema: 1\nnodes: []\n", r"^graph:2: 'nodes' is \[\]; it must be a mapping"),
        ("schema: 1\nname: a\nname: b\n", r"^graph:3: the key 'name' stands here twice"),
        ("schema: 1\nnodes:\n  a: 3\n", r"^graph:3: 'a' is 3; it must be a mapping"),
        ("schema: 1\nnodes:\n  a: {}\n", r"^graph:3: node 'a' wants one of 'type', 'use' and"),
        ("schema: 1\nnodes:\n  a: {type: toy/add, use: b}\n", r"has 'type' and 'use'"),
        (
            "schema: 1\nnodes:\n  a: {type: toy/ad}\n",
            r"^graph:3: No block of type 'toy/ad'.*'toy/add'",
        ),
        ("schema: 1\nnodes:\n  a:\n    type: toy/add\n    m: 3\n", r"^graph:3: toy/add: .*'m'"),
        (
            "schema: 1\nnodes:\n  a:\n    type: toy/add\n    order: x\n",
            r"^graph:5: 'order' is 'x'; it must be a whole",
        ),
        ("schema: 1\nnodes:\n  a: {type: toy/add, order: true}\n", r"must be a whole number"),
        ("schema: 1\nnodes:\n  a: {type: toy/add, auto_connect: 0}\n", r"must be true or false"),
        ("schema: 1\nnodes:\n  a: {use: b, n: 3}\n", r"^graph:3: Node 'a' is given 'n', but its"),
        ("schema: 1\nnodes:\n  no-name: {type: toy/add}\n", r"^graph:3: 'no-name' is no node name"),
        ("schema: 1\nnodes:\n  s:\n    graph: {node: 1}\n", r"^graph:4: a graph has no key 'node'"),
        ("schema: 1\nedges: [a b]\n", r"^graph:2: 'a b' is no edge; write 'node.op.port ->"),
        ("schema: 1\nedges:\n  - a -> b\n", r"^graph:3: 'a': graph 'graph' has no node 'a'"),
        ("schema: 1\nedges:\n  - 3\n", r"^graph:3: 'edges' is 3; it must be a string"),
        ("schema: 1\noutputs: {a: b}\n", r"^graph:2: 'b': graph 'graph' has no node 'b'"),
        ("schema: 1\noutputs: {a: [b]}\n", r"'a' is \['b'\]; it must be a string"),
        ("schema: 1\ninputs: {a: 3}\n", r"'a' is 3; it must be a list"),
        ("schema: 1\nrules:\n  - {target: a.b, sources: [c]}\n", r"target is 'role.op.port'"),
        ("schema: 1\nrules:\n  - {target: a.b.c}\n", r"^graph:3: a rule wants 'sources'"),
        (
            "schema: 1\nrules:\n  - {targt: a.b.c}\n",
            r"a rule has no key 'targt'. Did you mean 'target'",
        ),
        (
            "schema: 1\nrules:\n  - {target: a.b.c, sources: [d], mode: train}\n",
            r"'train' is no mode; there are 'denoise' and 'corrupt'",
        ),
        ("schema: 1\ntasks:\n  t: {take: []}\n", r"^graph:3: Task 't' has an unknown key 'take'"),
        ("schema: 1\ndraws: [1]\n", r"must be a string"),
        ("schema: 1\nextends: other\n", r"a graph has no key 'extends'"),
        ("schema: !!int one\nname: a\n", r"^graph:1: 'one' is no int"),
        ("schema: 1\n? [a]\n: b\n", r"a key must be a word or a number"),
    ],
)
def test_a_wrong_file_is_told_with_file_and_line(text, message):
    with pytest.raises(GraphFileError, match=message):
        ComputeGraph.from_yaml(text)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system ''",
        "!!python/tuple [1]",
        "!!python/object:collections.Counter {}",
    ],
)
def test_python_tags_are_refused_with_the_reason(tag):
    text = f"schema: 1\ndefaults:\n  x: {tag}\n"
    message = r"^graph:3: the tag '!!python.* is refused: it would have Python build objects"
    with pytest.raises(GraphFileError, match=message):
        ComputeGraph.from_yaml(text)


@pytest.mark.parametrize(
    "tag", ["!!binary aGk=", "!mine x", "!!set {a, b}", "!!timestamp 2024-01-01"]
)
def test_other_tags_are_refused_too(tag):
    with pytest.raises(GraphFileError, match="is refused: a graph file holds plain data"):
        ComputeGraph.from_yaml(f"schema: 1\ndefaults:\n  x: {tag}\n")


def test_bombs_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(GraphFileError, match="more than 200000 parts"):
        ComputeGraph.from_yaml("\n".join(["schema: 1", *lines]))
    with pytest.raises(GraphFileError, match="nested too deeply"):
        ComputeGraph.from_yaml("schema: 1\ndefaults: " + "[" * 20000)
    with pytest.raises(GraphFileError, match=r"nested too deeply|no valid YAML"):
        ComputeGraph.from_yaml("schema: 1\ndefaults: &a {x: *a}\n")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(GraphFileError, match=r"There is no graph file '.*none.yaml'"):
        ComputeGraph.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(GraphFileError, match="cannot be read"):
        ComputeGraph.from_yaml(tmp_path / "bytes.yaml")
    with pytest.raises(GraphFileError, match="cannot be read"):
        ComputeGraph.from_yaml(tmp_path)
    (tmp_path / "nul.yaml").write_text("schema: 1\nname: \0\n", encoding="utf-8")
    with pytest.raises(GraphFileError, match="no valid YAML"):
        ComputeGraph.from_yaml(tmp_path / "nul.yaml")


def test_the_file_is_named_in_errors(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("schema: 1\nnodes:\n  a: {type: toy/ad}\n", encoding="utf-8")
    with pytest.raises(GraphFileError, match=r"mine.yaml:3: No block of type 'toy/ad'"):
        ComputeGraph.from_yaml(file)


class Unregistered(Add):
    pass


@register_block("toy/clash")
class Clash(AbstractBaseBlock):
    def __init__(self, order: int = 0) -> None:
        pass


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Unregistered(), "Node 'x' of graph 'g' holds a Unregistered, .*register it with"),
        (Settings(table={"a": torch.zeros(1)}), r"'table' holds a torch.Tensor, which is no plain"),
        (Settings(thing=object()), "'thing' holds a builtins.object"),
        (Clash(3), "argument 'order' of 'toy/clash' has a name that graph files keep"),
    ],
)
def test_what_cannot_be_written_is_said(block, message):
    with pytest.raises(GraphFileError, match=message):
        ComputeGraph("g").add_node("x", block).to_yaml()


def test_defaults_that_are_no_plain_data_cannot_be_written():
    graph = ComputeGraph("g", defaults={"x": one(1)})
    with pytest.raises(GraphFileError, match=r"Graph 'g': 'defaults' holds a torch.Tensor"):
        graph.to_yaml()

from __future__ import annotations

import sys

import pytest

from tests.core.graphs import diffusion
from tests.core.toys import Add
from yggdrasil.core import template_sources
from yggdrasil.core.errors import GraphError, GraphFileError, RegistryError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.templates import (
    load_template,
    register_template,
    resolve_template,
    search_templates,
    template_names,
)

FAMILY = """\
schema: 1
name: family
nodes:
  a: {type: toy/add, n: 2.0, order: 3, tag: old}
  b: {type: toy/double}
  mix: {type: toy/mix}
edges:
  - a.run.number -> mix.run.a
  - b.run.number -> mix.run.b
inputs:
  number: [a.run.x, b.run.x]
  left: [b.run.x]
outputs:
  mixed: mix.run.number
  doubled: b.run.number
rules:
  - {target: block.run.c, sources: [codec.sample]}
tasks:
  first: {takes: [number]}
  second_kind: {takes: [number]}
"""
SMALL = """\
schema: 1
extends: family
remove: [b]
nodes:
  a: {n: 5.0}
  c: {type: toy/double}
edges:
  - c.run.number -> mix.run.c
inputs:
  right: [c.run.x]
outputs:
  mixed: a.run.number
rules:
  - {target: block.run.c, sources: [solver.finish]}
draws: [c.run]
tasks:
  first: {takes: [number, right]}
"""


@pytest.fixture(autouse=True)
def _templates(tmp_path, monkeypatch):
    folder = tmp_path / "family_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "family.yaml").write_text(FAMILY)
    (folder / "small.yaml").write_text(SMALL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(template_sources, "_packages", [])
    monkeypatch.setattr(template_sources, "_registered", {})
    search_templates("family_package")
    yield
    sys.modules.pop("family_package", None)


def test_templates_are_found_by_their_files():
    search_templates("family_package")
    assert template_names() == ("family", "small")
    assert load_template("family").name == "family"
    assert list(load_template("family").nodes) == ["a", "b", "mix"]


def test_a_template_laid_over_another():
    graph = load_template("small")
    assert graph.name == "small"
    assert sorted(graph.nodes) == ["a", "c", "mix"]
    assert dict(graph.block("a").config) == {"n": 5.0, "tag": "old"}
    assert graph.nodes["a"].order == 3
    assert [str(edge) for edge in graph.edges] == [
        "a.run.number -> mix.run.a",
        "c.run.number -> mix.run.c",
    ]
    assert {k: [str(r) for r in refs] for k, refs in graph.inputs.items()} == {
        "number": ["a.run.x"],
        "right": ["c.run.x"],
    }
    assert {k: str(ref) for k, ref in graph.outputs.items()} == {"mixed": "a.run.number"}
    assert [rule.sources for rule in graph.rules] == [("solver.finish",), ("codec.sample",)]
    assert graph.draws == ("c.run",)
    assert graph.tasks == {
        "first": {"takes": ["number", "right"]},
        "second_kind": {"takes": ["number"]},
    }


def test_another_type_keeps_the_settings_and_drops_the_configuration():
    graph = ComputeGraph.from_template("family", a="toy/double")
    assert graph.block("a").type_name == "toy/double"
    assert graph.nodes["a"].order == 3
    graph = ComputeGraph.from_template("family", a={"type": "toy/add", "tag": "new"})
    assert dict(graph.block("a").config) == {"n": 2.0, "tag": "new"}


def test_nodes_are_set_replaced_and_taken_away_in_the_call():
    block = Add(9.0)
    graph = ComputeGraph.from_template("family", a=block, b=None)
    assert graph.block("a") is block
    assert graph.nodes["a"].order == 3
    assert sorted(graph.nodes) == ["a", "mix"]
    with pytest.raises(
        GraphError, match=r"Template 'family' has no node 'mixx'. Did you mean 'mix'"
    ):
        ComputeGraph.from_template("family", mixx=None)


def test_each_graph_has_blocks_of_its_own():
    assert load_template("family").block("a") is not load_template("family").block("a")


def test_graphs_texts_and_files_are_registered(tmp_path):
    register_template("toy", diffusion())
    assert load_template("toy").to_yaml() == diffusion().to_yaml()
    register_template("toy", diffusion())
    register_template("text", FAMILY)
    (tmp_path / "file.yaml").write_text(FAMILY)
    register_template("file", tmp_path / "file.yaml")
    assert template_names() == ("family", "file", "small", "text", "toy")
    assert load_template("file").nodes.keys() == load_template("text").nodes.keys()
    with pytest.raises(RegistryError, match="is a template 'toy' already; choose another name"):
        register_template("toy", FAMILY)
    with pytest.raises(RegistryError, match="'family' already"):
        register_template("family", diffusion())


def test_a_name_may_say_the_task():
    graph, task = resolve_template("family")
    assert (graph.name, task) == ("family", None)
    assert resolve_template("family_first")[1] == "first"
    assert resolve_template("small_second_kind")[1] == "second_kind"
    register_template("family_first", FAMILY)
    assert resolve_template("family_first")[1] is None, "a template goes before a task"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(RegistryError, match=r"no template 'famly'. Did you mean 'family'"):
        load_template("famly")
    with pytest.raises(RegistryError, match="Did you mean 'family_first'"):
        resolve_template("family_firs")
    with pytest.raises(RegistryError, match="no template 'x'"):
        ComputeGraph.from_template("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 1\nextends: famly\n", r"bad.*:2: There is no template 'famly'.*'family'"),
        ("schema: 1\nextends: bad\n", r":2: templates cannot extend each other in a circle: bad"),
        ("schema: 1\nextends: family\nremove: [z]\n", r":3: there is no node 'z' to remove"),
        ("schema: 1\nextends: family\nremove: a\n", r":3: 'remove' is 'a'; it must be a list"),
        (
            "schema: 1\nextend: family\n",
            r":2: a template has no key 'extend'. Did you mean 'extends'",
        ),
        ("schema: 1\nextends: family\nnodes:\n  a: {m: 3}\n", r"bad:4: toy/add: .*'m'"),
        ("schema: 1\nextends: family\nnodes:\n  a: 3\n", r"bad:4: 'a' is 3; it must be a mapping"),
        (
            "schema: 1\nextends: family\nedges:\n  - a -> zz\n",
            r"bad:4: 'zz': graph .* no node 'zz'",
        ),
        ("schema: 2\nextends: family\n", r"schema version 2"),
    ],
)
def test_a_wrong_template_is_told_with_file_and_line(text, message):
    register_template("bad", text)
    with pytest.raises(GraphFileError, match=message):
        load_template("bad")


def test_a_mistake_in_the_lower_template_names_its_file():
    register_template("low", FAMILY.replace("toy/mix", "toy/mixx"))
    register_template("high", "schema: 1\nextends: low\n")
    with pytest.raises(GraphFileError, match=r"template low:6: No block of type 'toy/mixx'"):
        load_template("high")

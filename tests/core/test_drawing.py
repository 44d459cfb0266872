from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
import torch

from tests.core.graphs import NODES, chain, diffusion
from tests.core.toys import Add, Double
from yggdrasil.core.errors import InputError
from yggdrasil.core.graph import ComputeGraph

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = {"prompt": "a", "init_image": torch.ones(3), "mask": torch.ones(3)}


def rectangles(text):
    found = []
    for each in ET.fromstring(text).iter(f"{SVG}rect"):  # noqa: S314 - our own text
        if each.get("class") == "box":
            x, y, w, h = (float(each.get(k)) for k in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
    return found


def texts(text):
    return {each.text for each in ET.fromstring(text).iter(f"{SVG}text")}  # noqa: S314


def two_loops():
    graph = diffusion().add_node("again", "toy_control/net", auto_connect=False)
    outer = ComputeGraph("two").add_stage("base", graph).add_stage("refiner", diffusion())
    outer.connect("base.image", "refiner.init_image").expose_output("image", "refiner.image")
    return outer


GRAPHS = {"toy": diffusion, "two": two_loops, "chain": lambda: chain(*(Add() for _ in range(9)))}


@pytest.mark.parametrize("ports", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_do_not_overlap_and_stay_on_the_sheet(name, ports):
    text = GRAPHS[name]().draw("svg", ports=ports)
    boxes = rectangles(text)
    assert len(boxes) > 5
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    root = ET.fromstring(text)  # noqa: S314
    for box in boxes:
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= float(root.get("width"))
        assert box[3] <= float(root.get("height"))


def test_arrows_lead_around_boxes():
    text = diffusion().draw("svg", given=PICTURE)
    boxes = rectangles(text)
    for path in ET.fromstring(text).iter(f"{SVG}path"):  # noqa: S314
        if "carried" in (path.get("class") or "") or path.get("class") is None:
            continue
        numbers = [float(each) for each in re.findall(r"-?\d+\.?\d*", path.get("d"))]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        for x, y in points[1:-1]:
            inside = [b for b in boxes if b[0] + 1 < x < b[2] - 1 and b[1] + 1 < y < b[3] - 1]
            assert not inside, (x, y)


def test_labels_are_on_no_other_label():
    root = ET.fromstring(diffusion().draw("svg", ports=True))  # noqa: S314
    spots = [
        (float(e.get("x")), float(e.get("y")), len(e.text))
        for e in root.iter(f"{SVG}text")
        if e.get("class") == "label" and e.get("aria-hidden") is None
    ]
    assert len(spots) > 10
    for (x, y, n), (p, q, m) in combinations(spots, 2):
        assert abs(y - q) >= 12 or abs(x - p) * 2 >= (n + m) * 5


def test_a_plan_shows_only_what_runs():
    graph = diffusion()
    plain, whole = graph.draw("svg", given={"prompt": "a"}), graph.draw("svg", given=PICTURE)
    assert "blend" not in plain
    assert "encode · sample" not in texts(plain)
    assert "blend" in texts(whole)
    assert "encode · sample" in texts(whole)
    latents = graph.draw("svg", given={"prompt": "a"}, outputs=["latents"])
    assert "decode" not in latents


def test_ops_of_a_node_are_one_box_where_they_can_be():
    text = diffusion().draw()
    assert "<b>vae</b><br/><small>toy_codec/shift</small><br/>encode · sample" in text
    assert "<b>vae</b><br/><small>toy_codec/shift</small><br/>decode" in text


def test_loops_are_frames_and_the_carried_edge_is_dashed():
    text = diffusion().draw()
    assert text.startswith('---\ntitle: "toy"\n---\nflowchart TD\n')
    body = text[text.index("subgraph") : text.index("  end\n")]
    assert "each step of solver" in body
    assert [n in body for n in ("<b>net</b>", "<b>vae</b>")] == [True, False]
    assert text.count("-.->") == 1
    assert text.count("subgraph") == 1
    assert two_loops().draw().count("subgraph") == 2
    svg = diffusion().draw("svg")
    assert svg.count('class="arrow carried"') == 1
    assert "↻ each step of solver" in svg


def test_ports_are_written_on_demand():
    assert "sample → sample" not in diffusion().draw()
    assert '|"sample → sample<br/>timestep → timestep"|' in diffusion().draw(ports=True)
    assert "sample → sample" in texts(diffusion().draw("svg", ports=True))
    assert "sample → sample" not in texts(diffusion().draw("svg"))


def test_what_is_not_used_is_drawn_faintly():
    graph = diffusion().add_node("lonely", Add())
    assert "<b>lonely</b>" in graph.draw()
    assert 'opacity="0.45"' in graph.draw("svg")
    assert "lonely" not in graph.draw(given={"prompt": "a"})


def test_names_are_escaped():
    graph = ComputeGraph('a <b> & "c" #1').add_node("n", Add()).expose_output("x<y>&", "n")
    svg = graph.draw("svg")
    assert 'a <b> & "c" #1' in texts(svg)
    assert "x<y>&" in texts(svg)
    mermaid = graph.draw()
    assert 'title: "a <b> & \\"c\\" #1"' in mermaid
    assert "x&lt;y&gt;&amp;" in mermaid


def test_a_graph_without_outputs_shows_everything():
    graph = chain(Add(), Double())
    assert graph.draw().count("-->") == 1
    assert ComputeGraph().draw("svg").startswith("<svg")
    assert ComputeGraph().draw().startswith("---")


def test_a_circle_that_is_no_loop_can_still_be_looked_at():
    graph = ComputeGraph("ring").add_node("a", "toy/mix").add_node("b", "toy/mix")
    graph.connect("a", "b.b").connect("b", "a.b")
    assert graph.draw().count("-.->") == 1
    ET.fromstring(graph.draw("svg"))  # noqa: S314


def test_the_order_of_adding_does_not_show():
    assert diffusion().draw("svg") == diffusion(order=tuple(reversed(NODES))).draw("svg")


def test_a_large_graph_is_drawn_in_moments():
    text = chain(*(Add() for _ in range(400))).draw("svg")
    assert len(rectangles(text)) == 400


def test_an_unknown_format_is_refused():
    with pytest.raises(InputError, match="no drawing format 'pdf'"):
        diffusion().draw("pdf")

"""Wiring: for every input of every op, its candidate sources in order.

One pure function of the nodes, the explicit edges, the rules and the mode. Nothing here depends on
the order in which nodes were added, or on the values of a call.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.candidates import (
    Candidates,
    FromConstant,
    FromInput,
    FromPort,
    Source,
    Vertex,
    Wiring,
)
from yggdrasil.core.cycles import strongly_connected
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import ConnectError, GraphError, nearest
from yggdrasil.core.flatten import FlatNode, Scope, flatten
from yggdrasil.core.ports import OpSpec, Port, fits
from yggdrasil.core.references import PortRef
from yggdrasil.core.role_rules import DRAWS, PATCHES, ROLE_RULES, SPLICES
from yggdrasil.core.rules import Mode, Rule

__all__ = [
    "Candidates",
    "FromConstant",
    "FromInput",
    "FromPort",
    "Source",
    "Vertex",
    "Wiring",
    "wire",
]

_SPLICED = "+splices"


def wire(graph: GraphLike, mode: Mode = "denoise") -> Wiring:
    """Derives the candidates of every input.

    Args:
        graph: The declaration.
        mode: ``denoise`` generates, ``corrupt`` trains.
    """
    nodes, scopes = flatten(graph)
    weaver = _Weaver(nodes, scopes, mode)
    inputs = {
        Vertex(node.path, op): {port.name: weaver.candidates(node, spec, port)
                                for port in spec.inputs.values()}
        for node in nodes.values()
        for op, spec in node.ops.items()
    }  # fmt: skip
    names: dict[str, list[tuple[Vertex, str]]] = defaultdict(list)
    for vertex, ports in inputs.items():
        for name, candidates in ports.items():
            for choice in candidates.choices:
                for source in choice:
                    if isinstance(source, FromInput):
                        names[source.name].append((vertex, name))
    return Wiring(
        graph_name=graph.name,
        mode=mode,
        nodes=nodes,
        inputs=inputs,
        names={name: tuple(ports) for name, ports in sorted(names.items())},
        outputs=weaver.exposed_outputs(),
        draws={path: scope.graph.draws or DRAWS for path, scope in sorted(scopes.items())},
        patches=weaver.patches(),
    )


class _Weaver:
    """Looks up rules, edges and names while a graph is wired."""

    def __init__(
        self, nodes: Mapping[str, FlatNode], scopes: Mapping[str, Scope], mode: Mode
    ) -> None:
        self._nodes = nodes
        self._scopes = scopes
        self._mode = mode
        self._by_role: dict[tuple[str, str], list[FlatNode]] = defaultdict(list)
        for node in sorted(nodes.values(), key=lambda each: each.rank):
            if node.auto_connect:
                self._by_role[node.scope, node.role].append(node)
                for name in node.type_names:
                    self._by_role[node.scope, name].append(node)
        general = _index_rules(ROLE_RULES, mode)
        self._rules = {
            path: (_index_rules(scope.graph.rules, mode), general) for path, scope in scopes.items()
        }
        self._edges: dict[tuple[str, str, str], list[FromPort]] = defaultdict(list)
        for path, scope in scopes.items():
            for edge in scope.graph.edges:
                key = (scope.child(edge.target.node), edge.target.op, edge.target.port)
                self._edges[key].append(self._resolve(path, edge.source))
        for edges in self._edges.values():
            # Into a port that takes many: by the nodes' order, never by that of connecting.
            edges.sort(key=lambda each: (nodes[each.vertex.node].rank, each.vertex.op, each.port))
        self._exposed: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for scope in scopes.values():
            for name, refs in scope.graph.inputs.items():
                for ref in refs:
                    self._exposed[scope.child(ref.node), ref.op, ref.port].append(name)
        self._splices = {path: self._find_splices(path) for path in scopes}
        self._links: dict[tuple[str, str], FromPort] | None = None

    def exposed_outputs(self) -> dict[str, FromPort]:
        """Gives the outputs that the graph exposes and, as ``stage.name``, those of its stages."""
        return {
            scope.child(name): self._resolve(path, ref)
            for path, scope in sorted(self._scopes.items())
            for name, ref in scope.graph.outputs.items()
        }

    def patches(self) -> dict[str, tuple[str, ...]]:
        """Gives for each node that adapters change the adapters, in order.

        Raises:
            GraphError: An adapter names a node that is not there.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for node in sorted(self._nodes.values(), key=lambda each: each.rank):
            if isinstance(node.block, AbstractAdapter):
                for path in self._patched(node, node.block):
                    found[path].append(node.path)
        return {path: tuple(adapters) for path, adapters in sorted(found.items())}

    def _patched(self, node: FlatNode, adapter: AbstractAdapter) -> list[str]:
        """Gives the nodes that one adapter changes: those that it names, else those of a rule."""
        if adapter.targets:
            scope = self._scopes[node.scope]
            paths = [scope.child(name) for name in adapter.targets]
            for name, path in zip(adapter.targets, paths, strict=True):
                if path not in self._nodes:
                    raise GraphError(
                        f"Adapter {node.path!r} of graph {self._scopes[''].graph.name!r} is to "
                        f"change {name!r}, which is no node.{nearest(name, self._nodes)}"
                    )
            return paths
        if not node.auto_connect:
            return []
        heads = (*node.type_names, node.role)
        targets = [head for rule in PATCHES if rule.adapter in heads for head in rule.targets]
        return list(dict.fromkeys(each.path for t in targets for each in self._near(node, t)))

    def candidates(self, node: FlatNode, spec: OpSpec, port: Port) -> Candidates:
        """Gives what may feed one input, in order."""
        choices: list[tuple[Source, ...]] = []
        reasons: list[str] = []
        absent: list[tuple[int, str]] = []
        for choice, reason in self._offers(node, spec, port):
            if choice:
                choices.append(choice)
                reasons.append(reason)
            else:
                absent.append((len(choices), reason))
        rules = self._rules_for(node, spec, port)
        closing = next((r for r in rules if r.carried), None)
        carried = None if closing is None else closing.carried
        needed = any(rule.required for rule in rules)
        return Candidates(
            port=dataclasses.replace(port, required=True) if needed else port,
            choices=tuple(choices),
            reasons=tuple(reasons),
            absent=tuple(absent),
            carried=() if carried is None else tuple(self._match(node, carried, port)),
            until=None if closing is None else closing.until,
        )

    def _offers(
        self, node: FlatNode, spec: OpSpec, port: Port
    ) -> Iterator[tuple[tuple[Source, ...], str]]:
        """Gives each choice with its reason; a rule's source that no node matches is empty."""
        key = (node.path, spec.name, port.name)
        for name in self._exposed.get(key, ()):
            yield from ((each, "exposed input") for each in self._named(node.scope, name, port))
        if edges := self._edges.get(key):
            yield tuple(edges), "explicit edge"
        else:
            splice = self._splice_sources(node, spec, port)
            yield from ((each, "splice") for each in splice)
            rules = self._rules_for(node, spec, port)
            for rule in rules:
                for pattern in rule.sources:
                    reason = f"rule {rule.target}: {pattern}"
                    yield from ((each, reason) for each in self._match(node, pattern, port))
            if not rules and not splice:
                yield from ((each, "by name") for each in self._named(node.scope, port.name, port))
        if port.name in node.inputs:
            yield (FromConstant(node.inputs[port.name]),), "node default"

    # -- rules -----------------------------------------------------------------------------------

    def _rules_for(self, node: FlatNode, spec: OpSpec, port: Port) -> list[Rule]:
        """Gives the rules of an input: none where it has an explicit edge or sees no rules."""
        if not node.auto_connect or (node.path, spec.name, port.name) in self._edges:
            return []
        targets = [f"{each}.{spec.name}.{port.name}" for each in (*node.type_names, node.role)]
        own, general = (
            [rule for target in targets for rule in rules.get(target, ())]
            for rules in self._rules[node.scope]
        )
        return own if any(not rule.sources for rule in own) else own + general

    def _match(self, node: FlatNode, pattern: str, port: Port) -> list[tuple[Source, ...]]:
        """Gives the choices that one pattern offers, usually one."""
        if pattern.startswith("$"):
            return self._named(node.scope, pattern[1:], port)
        pattern, spliced, _ = pattern.partition(_SPLICED)
        head, op, *rest = pattern.split(".")
        wanted = rest[0] if rest else None
        nodes = [node] if head == "self" else self._near(node, head)
        found = tuple(
            FromPort(Vertex(each.path, name), out)
            for each in nodes
            for name, spec in each.ops.items()
            if op in ("*", name)
            for out in _ports_called(spec, wanted, port)
        )
        after = [(source,) for source in self._behind(node)] if spliced else []
        return [*after, found]

    def _near(self, node: FlatNode, head: str) -> list[FlatNode]:
        """Gives the nodes of a role or type in the node's own group, else the ungrouped ones.

        A node of a derived type stands in for the type, where there is none of the type itself.
        """
        all_of_it = self._by_role.get((node.scope, head), [])
        own = [each for each in all_of_it if each.group == node.group]
        found = own or [each for each in all_of_it if each.group is None]
        exact = [each for each in found if head in (each.role, *each.type_names[:1])]
        return exact or found

    # -- splices ---------------------------------------------------------------------------------

    def _find_splices(self, path: str) -> list[tuple[FlatNode, OpSpec, Port]]:
        found = []
        for splice in SPLICES:
            role = splice.after.partition(".")[0]
            for node in sorted(self._nodes.values(), key=lambda each: each.rank):
                if node.scope != path or node.role == role or not node.auto_connect:
                    continue
                for spec in node.ops.values():
                    ports = [p for p in spec.inputs.values() if _is_kind(p, splice.kind)]
                    outs = list(spec.outputs.values())
                    if len(ports) == 1 and len(outs) == 1 and _is_kind(outs[0], splice.kind):
                        found.append((node, spec, ports[0]))
        return found

    def _behind(self, node: FlatNode) -> list[Source]:
        """Gives the spliced ops of the node's group, the last one first."""
        return [
            FromPort(Vertex(each.path, spec.name), next(iter(spec.outputs)))
            for each, spec, _ in reversed(self._splices[node.scope])
            if each.group in (node.group, None)
        ]

    def _splice_sources(self, node: FlatNode, spec: OpSpec, port: Port) -> list[tuple[Source, ...]]:
        """For the state input of a spliced op: the splice before it, down to the op itself."""
        chain = self._splices[node.scope]
        here = [i for i, each in enumerate(chain) if each == (node, spec, port)]
        if not here:
            return []
        choices: list[tuple[Source, ...]] = [
            (FromPort(Vertex(each.path, before.name), next(iter(before.outputs))),)
            for each, before, _ in reversed(chain[: here[0]])
            if each.group == node.group
        ]
        for splice in SPLICES:
            if _is_kind(port, splice.kind):
                choices.extend(self._match(node, splice.after, port))
        return choices

    # -- names and stages ------------------------------------------------------------------------

    def _named(self, scope_path: str, name: str, port: Port) -> list[tuple[Source, ...]]:
        """Gives what a graph input of this name may be: outside a stage, another stage's output."""
        choices: list[tuple[Source, ...]] = []
        fallbacks: list[tuple[Source, ...]] = []
        scope = self._scopes[scope_path]
        while scope.parent is not None:
            choices.append((FromInput(f"{scope.path}.{name}"),))
            for exposed in self._exposed.get((scope.path, "run", name), ()):
                choices.extend(self._named(scope.parent, exposed, port))
            fallbacks.extend((FromConstant(value),) for value in scope.fallbacks(name))
            if edges := self._edges.get((scope.path, "run", name)):
                choices.append(tuple(edges))
            elif not scope.takes(name):
                return [*choices, *fallbacks]
            elif scope.task is not None and name in scope.task.fixed:
                return [*choices, (FromConstant(scope.task.fixed[name]),)]
            else:
                link = self._stage_links().get((scope.path, name))
                if link is not None and fits(self._port(link), port):
                    choices.append((link,))
            scope = self._scopes[scope.parent]
        choices.append((FromInput(name),))
        return [*choices, *fallbacks]

    def _stage_links(self) -> dict[tuple[str, str], FromPort]:
        """Gives, per stage and input name, the one other stage's output of that name.

        A link that would close a cycle of stages is left out; ``connect`` says it then.
        """
        if self._links is not None:
            return self._links
        self._links = {}  # while links are looked for, names lead nowhere
        givers: dict[tuple[str, str], list[Scope]] = defaultdict(list)
        for scope in self._scopes.values():
            if scope.parent is not None:
                for name in scope.graph.outputs:
                    givers[scope.parent, name].append(scope)
        links: dict[tuple[str, str], Scope] = {}
        for scope in self._scopes.values():
            if scope.parent is None:
                continue
            for name in filter(scope.takes, _open_names(scope, self._nodes, self)):
                others = [s for s in givers.get((scope.parent, name), ()) if s is not scope]
                if len(others) == 1:
                    links[scope.path, name] = others[0]
        ring = self._rings(links)
        self._links = {
            key: self._resolve(giver.path, giver.graph.outputs[key[1]])
            for key, giver in links.items()
            if ring[key[0]] != ring[giver.path]
        }
        return self._links

    def _rings(self, links: Mapping[tuple[str, str], Scope]) -> dict[str, int]:
        """Numbers the circles of stages that links and explicit edges close; each has its own."""
        follows: dict[str, list[str]] = {path: [] for path in self._scopes}
        for (taker, _), giver in links.items():
            follows[giver.path].append(taker)
        for scope in self._scopes.values():
            for edge in scope.graph.edges:
                giving, taking = scope.child(edge.source.node), scope.child(edge.target.node)
                if giving in follows and taking in follows:
                    follows[giving].append(taking)
        rings = enumerate(strongly_connected(follows))
        return {path: number for number, ring in rings for path in ring}

    def _resolve(self, path: str, ref: PortRef) -> FromPort:
        """Follows a reference into stages until it reaches a vertex.

        Raises:
            ConnectError: A stage no longer has the output.
        """
        while True:
            child = self._scopes[path].child(ref.node)
            if child not in self._scopes:
                return FromPort(Vertex(child, ref.op), ref.port)
            outputs = self._scopes[child].graph.outputs
            if ref.port not in outputs:
                raise ConnectError(
                    f"Stage {child!r} has no output {ref.port!r} any more, which an edge or an "
                    f"exposed output names.{nearest(ref.port, outputs)}"
                )
            path, ref = child, outputs[ref.port]

    def _port(self, source: FromPort) -> Port:
        return self._nodes[source.vertex.node].ops[source.vertex.op].outputs[source.port]


def _open_names(scope: Scope, nodes: Mapping[str, FlatNode], weaver: _Weaver) -> set[str]:
    """Gives the graph input names that the nodes of one graph read."""
    names: set[str] = set()
    for node in nodes.values():
        if node.scope != scope.path and not node.scope.startswith(f"{scope.path}."):
            continue
        for spec in node.ops.values():
            for port in spec.inputs.values():
                for choice in weaver.candidates(node, spec, port).choices:
                    names |= {s.name.rpartition(".")[2] for s in choice if isinstance(s, FromInput)}
    return names


def _index_rules(rules: Iterable[Rule], mode: Mode) -> dict[str, list[Rule]]:
    index: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        if rule.mode in (None, mode):
            index[rule.target].append(rule)
    return index


def _ports_called(spec: OpSpec, wanted: str | None, target: Port) -> list[str]:
    """Gives the output that a pattern means: the named one, the only one, the one that fits."""
    if wanted is not None:
        return [wanted] if wanted in spec.outputs else []
    if len(spec.outputs) == 1:
        return list(spec.outputs)
    fitting = [name for name, port in spec.outputs.items() if fits(port, target)]
    return fitting if len(fitting) == 1 else []


def _is_kind(port: Port, kind: str) -> bool:
    return [each.name for each in port.kinds] == [kind]

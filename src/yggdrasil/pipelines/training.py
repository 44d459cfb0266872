"""The pipeline that trains nodes of a graph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.patches import adapters_of
from yggdrasil.core.rules import Mode
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.library import Library
from yggdrasil.hub.locate import locate
from yggdrasil.pipelines.components import blocks_of, check_files, check_whole, fill
from yggdrasil.pipelines.configs import TrainingConfig, make_graph, read_config
from yggdrasil.pipelines.extending import with_place_for
from yggdrasil.pipelines.inference import InferencePipeline
from yggdrasil.pipelines.models import graph_of, use_own_solver, use_several
from yggdrasil.pipelines.opaque import opaque_nodes
from yggdrasil.pipelines.opening import Options, overlay, sort_options
from yggdrasil.training.batches import Samples, collate
from yggdrasil.training.settings import TrainingSettings
from yggdrasil.training.trainer import Trainer, TrainingObserver

__all__ = ["TrainingPipeline"]


class TrainingPipeline:
    """Trains chosen nodes of a graph: whatever can run can be trained.

    Args:
        graph: The graph, with an objective among its nodes.
        train_nodes: The nodes whose weights change; all others stand still. A node of a stage is
            named with it: ``refiner.unet``.
        train_stages: Stages all of whose weights change.
        loss: The output to be made small.
        wiring: ``corrupt`` trains a denoiser on noised data; ``denoise`` trains through what the
            graph does when it runs, such as an autoencoder.
        library: The model that fills components whose nodes name none.

    Raises:
        ConfigError: A node or stage does not exist, or none is named; or one has a dtype of its
            own, which training does not keep.
    """

    def __init__(
        self,
        graph: ComputeGraph,
        *,
        train_nodes: Sequence[str] = (),
        train_stages: Sequence[str] = (),
        loss: str = "objective.loss",
        wiring: Mode = "corrupt",
        library: Library | None = None,
    ) -> None:
        self.graph = graph
        self.train_nodes = (*train_nodes, *train_stages)
        self._loss = loss
        self._wiring = wiring
        self._library = library
        self._runtime = Runtime(graph)
        _check_nodes(graph, train_nodes, train_stages)
        _check_dtypes(graph)
        fill(graph, library)

    @classmethod
    def from_graph(cls, graph: ComputeGraph, **options: Any) -> Self:
        """Makes a pipeline of a graph; options as for the constructor."""
        return cls(graph, **options)

    @classmethod
    def from_template(
        cls,
        name: str,
        *,
        pretrained: str | os.PathLike[str] | None = None,
        objective: str | None = None,
        timesteps: str | None = None,
        **options: Any,
    ) -> Self:
        """Makes a pipeline of a family, with the two nodes that training adds.

        Args:
            name: A template.
            pretrained: The model to start from; nodes without one start from their own components.
            objective: Type of the objective; the graph's own, else ``objective/mse``, unless given.
            timesteps: Type of the block that says which timesteps are trained; the graph's own,
                else ``timesteps/uniform``, unless given.
            **options: As for the constructor.
        """
        graph, _ = resolve_template(name)
        given = sort_options(options, cls.__init__)
        library = None if pretrained is None else locate(pretrained, **given.where)
        return cls._open(graph, library, objective, timesteps, given)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        objective: str | None = None,
        timesteps: str | None = None,
        **options: Any,
    ) -> Self:
        """Makes a pipeline that goes on training a model, whose graph is found as for generating.

        Args:
            model: Zoo name, folder in Diffusers' layout, hub id, or a folder that
                ``save_pretrained`` wrote.
            objective: Type of the objective; the graph's own, else ``objective/mse``, unless given.
            timesteps: Type of the block that says which timesteps are trained; the graph's own,
                else ``timesteps/uniform``, unless given.
            **options: As for the constructor, and as for ``InferencePipeline.from_pretrained``
                where the model is and what replaces components of it.

        Raises:
            ModelError: The model is not there, damaged, or of a family without a template.
        """
        given = sort_options(options, cls.__init__)
        library = locate(model, **given.where)
        return cls._open(graph_of(library), library, objective, timesteps, given)

    @classmethod
    def from_config(
        cls, source: str | os.PathLike[str] | Mapping[str, Any], **overrides: Any
    ) -> Self:
        """Makes a pipeline of a configuration; ``TrainingConfig`` lists its keys.

        Args:
            source: A YAML file, its text, or a mapping.
            **overrides: Laid over it, with dots into mappings:
                ``**{"nodes.solver.prediction_type": "v_prediction"}``.

        Raises:
            GraphFileError: A key or value is wrong; with file and line, or the override.
            ModelError: The model is not there, or its files are missing or damaged.
            RegistryError: There is no such template, solver or block.
            ConfigError: A node that is to be trained does not exist.
        """
        config, document = read_config(source, TrainingConfig, overrides)
        graph, _, library = make_graph(config, document)
        _add_role(graph, "timesteps", config.timesteps, "timesteps/uniform")
        _add_role(graph, "objective", config.objective, "objective/mse")
        pipeline = cls(
            graph,
            train_nodes=config.train_nodes,
            train_stages=config.train_stages,
            loss=config.loss,
            wiring=config.wiring,
            library=library,
        )
        check_files(graph)
        return pipeline

    @classmethod
    def _open(
        cls,
        graph: ComputeGraph,
        library: Library | None,
        objective: str | None,
        timesteps: str | None,
        given: Options,
    ) -> Self:
        if library is not None:
            graph = with_place_for(graph, library, given.components)
            library = overlay(library, graph, given)
            if library.graph_file is None or "scheduler" in given.components:
                use_own_solver(graph, library)
            if library.graph_file is None:
                use_several(graph, library)
        elif given.components:
            raise ConfigError(f"Without pretrained=..., {min(given.components)!r} is unknown.")
        _add_role(graph, "timesteps", timesteps, "timesteps/uniform")
        _add_role(graph, "objective", objective, "objective/mse")
        pipeline = cls(graph, library=library, **given.pipeline)
        if library is not None:
            check_whole(graph, library, given.components)
        check_files(graph)
        return pipeline

    def fit(
        self,
        samples: Samples,
        settings: TrainingSettings,
        folder: str | os.PathLike[str],
        *,
        inputs: Mapping[str, str],
        observers: Sequence[TrainingObserver] = (),
        resume: bool = True,
        until: int | None = None,
    ) -> Trainer:
        """Trains.

        Args:
            samples: The data: numbered mappings.
            settings: The run.
            folder: Where checkpoints and figures go; a checkpoint there is gone on from.
            inputs: For each name of a sample, the graph input that it is.
            observers: Who is told of each step.
            resume: Whether to go on from a checkpoint.
            until: Stop after this many steps in all.

        Returns:
            The trainer, whose ``use_average`` puts the moving average in.
        """
        if len(samples):
            self.check(inputs, collate([samples[0]]))
        trainer = self.trainer(settings, Path(folder), inputs)
        if resume:
            trainer.resume()
        trainer.fit(samples, observers=tuple(observers), until=until)
        return trainer

    def check(self, inputs: Mapping[str, str], batch: Mapping[str, Any]) -> None:
        """Plans a step without running it, so that what is wrong is known before weights load.

        Args:
            inputs: For each name of a sample, the graph input that it is.
            batch: As the data gives it.

        Raises:
            YggdrasilError: The step cannot be made of such a batch.
        """
        self._runtime.plan(_values(inputs, batch), [self._loss], mode=self._wiring)

    def trainer(
        self, settings: TrainingSettings, folder: Path, inputs: Mapping[str, str]
    ) -> Trainer:
        """Makes the loop of a run without starting it; arguments as for ``fit``.

        Raises:
            ConfigError: A node that is to be trained has no weights, or settings do not fit.
            ModelError: A component cannot be loaded.
        """
        _check_dtypes(self.graph)  # which may have been edited
        blocks = [block for _, block in blocks_of(self.graph)]
        for block in blocks:
            block.load()
            block.requires_grad_(requires_grad=False).eval()
        for patch in adapters_of(self._runtime.wiring(self._wiring)):
            if patch.node in self.train_nodes:
                patch.adapter.grow(patch.among)
        modules = {
            name: _graph_of(self.graph, name)[0].block(name.rpartition(".")[2])
            for name in self.train_nodes
        }
        for name, module in modules.items():
            if not any(True for _ in module.parameters()):
                raise ConfigError(f"Node {name!r} cannot be trained: it has no weights.")

        def loss(batch: Mapping[str, Any], generator: torch.Generator) -> Tensor:
            outputs = self._runtime.run(
                _values(inputs, batch, generator),
                [self._loss],
                mode=self._wiring,
                gradients=True,
            )
            result: Tensor = outputs[self._loss]
            return result

        trainer = Trainer(loss, modules, settings, folder)
        for block in blocks:
            block.to(trainer.device)
        return trainer

    def inference(self, **options: Any) -> InferencePipeline:
        """Gives a pipeline that generates with the same modules."""
        return InferencePipeline(self.graph, library=self._library, **options)


def _add_role(graph: ComputeGraph, role: str, wanted: str | None, default: str) -> None:
    """Adds the node of a role that training needs, unless the graph was saved with one.

    Raises:
        ConfigError: A type is asked for, and the graph has several nodes of the role.
    """
    found = [name for name in graph.nodes if graph.role(name) == role]
    if not found:
        graph.add_node(role, wanted or default)
    elif wanted is not None:
        if len(found) > 1:
            raise ConfigError(
                f"{role}={wanted!r} is for a graph with one such node; this one has "
                f"{', '.join(map(repr, found))}. Use graph.replace_node(name, type)."
            )
        if graph.block(found[0]).type_name != wanted:
            graph.replace_node(found[0], wanted)


def _check_nodes(graph: ComputeGraph, nodes: Sequence[str], stages: Sequence[str]) -> None:
    if not nodes and not stages:
        raise ConfigError("train_nodes is empty: name at least one node to train.")
    for word, names in (("train_nodes", nodes), ("train_stages", stages)):
        for path in names:
            _check_node(graph, path, word)
    names = [*nodes, *stages]
    if len(set(names)) < len(names):
        raise ConfigError(f"train_nodes names a node twice: {', '.join(names)}.")


def _check_dtypes(graph: ComputeGraph) -> None:
    """Refuses dtypes of nodes: the weights that are trained, and what they meet, are in float32."""
    waiting: list[tuple[str, ComputeGraph]] = [("", graph)]
    while waiting:
        prefix, each = waiting.pop()
        for name, node in each.nodes.items():
            if node.dtype not in (None, "float32"):
                raise ConfigError(
                    f"Node {prefix + name!r} has the dtype {node.dtype}, and training keeps "
                    f"weights in float32: call set_dtype({name!r}, None) on its graph first. "
                    'TrainingSettings(precision="bf16") computes in bfloat16.'
                )
            if node.block is not None and node.block.inner_graph is not None:
                waiting.append((f"{prefix}{name}.", node.block.inner_graph))


def _check_node(graph: ComputeGraph, path: str, word: str) -> None:
    holder, prefix = _graph_of(graph, path)
    name = path.removeprefix(prefix)
    opaque = opaque_nodes(holder)
    if opaque and name not in holder.nodes.keys() - opaque.keys():
        block = opaque.get(name) or next(iter(opaque.values()))
        raise ConfigError(
            f"{word} names {path!r}, and {block.label} runs whole: Diffusers computes it without "
            "gradients, and the graph sees no loss inside. Train a model of a family that has a "
            "template, or a graph of blocks that you make of its components."
        )
    if name not in holder.nodes:
        known = [f"{prefix}{each}" for each in holder.nodes]
        raise ConfigError(
            f"{word} names {path!r}, which graph {graph.name!r} has not.{nearest(path, known)}"
        )
    use = holder.nodes[name].use
    if use is not None:
        raise ConfigError(
            f"{word} names {path!r}, which has no weights of its own: it uses {use!r}. "
            f"Train {prefix + use.partition('.')[0]!r}."
        )
    if word == "train_stages" and holder.block(name).inner_graph is None:
        raise ConfigError(
            f"train_stages names {path!r}, which is no stage: name it in train_nodes."
        )


def _graph_of(graph: ComputeGraph, path: str) -> tuple[ComputeGraph, str]:
    """Gives the graph that holds a node, and what its path begins with there."""
    prefix = ""
    for name in path.split(".")[:-1]:
        inner = graph.block(name).inner_graph if name in graph.nodes else None
        if inner is None:
            break  # the caller says what is not there
        graph, prefix = inner, f"{prefix}{name}."
    return graph, prefix


def _values(
    inputs: Mapping[str, str], batch: Mapping[str, Any], generator: torch.Generator | None = None
) -> dict[str, Any]:
    """Gives the graph inputs of a step."""
    for name in inputs:
        if name not in batch:
            raise ConfigError(
                f"inputs names {name!r}, which the samples do not have.{nearest(name, batch)}"
            )
    values = {inputs[name]: value for name, value in batch.items() if name in inputs}
    return {**values, "generator": generator or torch.Generator()}

"""Recipes: a model from nothing, phase by phase, from one YAML file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from yggdrasil.blocks.codec.autoencoder_kl import AutoencoderKLCodec
from yggdrasil.core.errors import ConfigError, GraphFileError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.sources import FolderSource, FreshSource
from yggdrasil.pipelines.components import blocks_of, check_files
from yggdrasil.pipelines.saving import save_pipeline
from yggdrasil.pipelines.training import TrainingPipeline
from yggdrasil.training.batches import Samples, collate
from yggdrasil.training.datasets import make_dataset
from yggdrasil.training.latents import normalize_latents
from yggdrasil.training.settings import TrainingSettings
from yggdrasil.training.tokenizers import word_tokenizer
from yggdrasil.training.trainer import Trainer, TrainingObserver, check_factors

__all__ = ["Phase", "Recipe", "find_recipe", "read_recipe", "run_recipe"]

_PACKAGED = Path(__file__).parent.parent / "training" / "recipes"


_FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phase(_Part):
    """One training run of a recipe.

    Attributes:
        name: Its folder.
        nodes: Nodes laid over the template's, as in a graph file; null takes one away.
        train: The nodes that are trained.
        wiring: ``corrupt`` or ``denoise``; see ``TrainingPipeline``.
        inputs: For each name of a sample, the graph input that it is.
        data: The dataset's ``type`` and options.
        settings: The run.
        normalize_latents: After the phase, how many samples to take the latents' statistics from.
    """

    name: _FolderName
    nodes: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    train: list[str]
    wiring: Literal["corrupt", "denoise"] = "corrupt"
    inputs: dict[str, str]
    data: dict[str, Any]
    settings: TrainingSettings
    normalize_latents: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.normalize_latents and "pixels" not in self.inputs.values():
            raise ValueError("normalize_latents needs a sample's value as the input 'pixels'")
        if "type" not in self.data:
            raise ValueError("data says no type, such as 'shapes'")
        return self


class Recipe(_Part):
    """A model from nothing.

    Attributes:
        schema_version: 1 (``schema`` in the file).
        name: Of the model.
        template: Whose graph is trained.
        nodes: Nodes laid over the template's in every phase and in the model, as in a graph file;
            null takes one away.
        words: The tokenizer's vocabulary.
        prompt_length: Tokens of a prompt.
        components: Configurations of the models, by slot.
        zero: For some of them, ends of the names of layers that begin at zero.
        seed: Of the initial weights.
        phases: In order.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: _FolderName
    template: str
    nodes: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    words: list[str]
    prompt_length: int = 77
    components: dict[str, dict[str, Any]]
    zero: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    seed: int = 0
    phases: list[Phase] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [self.name, "model", *(phase.name for phase in self.phases)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{twice[0]!r} is the folder of two things; the recipe, each phase and 'model' "
                "have one of their own"
            )
        return self


def find_recipe(name: str) -> Path:
    """Finds a recipe by its path, or among those that come with the package.

    Raises:
        GraphFileError: There is none of that name.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    packaged = {each.stem: each for each in sorted(_PACKAGED.glob("*.yaml"))}
    if name in packaged:
        return packaged[name]
    raise GraphFileError(f"There is no recipe {name!r}.{nearest(name, packaged)}")


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe.

    Raises:
        GraphFileError: It is no YAML, or says something that a recipe does not.
    """
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GraphFileError(f"{path} is no YAML that can be read safely: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise GraphFileError(f"{path}{f', at {where}' if where else ''}: {message}.") from error


def run_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    observers: Callable[[Phase, Trainer, TrainingPipeline], Sequence[TrainingObserver]]
    | None = None,
    until: Mapping[str, int] | None = None,
    resume: bool = True,
) -> Path:
    """Trains the phases of a recipe, going on from where an earlier call stopped.

    Args:
        recipe: What to train.
        folder: Of the run: a folder for each phase, and ``model`` for what is done.
        observers: Makes the listeners of a phase.
        until: For some phases, a step to stop at before their end.
        resume: Whether to go on from checkpoints; else what an earlier run left is removed.

    Returns:
        The model's folder, which Diffusers loads.

    Raises:
        ConfigError: A phase names nodes, data or settings that there are not; nothing was trained
            then.
    """
    _check(recipe)
    model = folder / "model"
    if not resume:
        for name in ("model", recipe.name, *(phase.name for phase in recipe.phases)):
            shutil.rmtree(folder / name, ignore_errors=True)
    # A text encoder that was trained keeps the numbers of its words.
    if not (model / "tokenizer").is_dir():
        tokenizer = word_tokenizer(recipe.words, max_length=recipe.prompt_length)
        tokenizer.save_pretrained(model / "tokenizer")
    for phase in recipe.phases:
        done = folder / phase.name / "done"
        if resume and done.is_file():
            continue
        pipeline = _pipeline(recipe, phase, model)
        trainer = pipeline.trainer(phase.settings, folder / phase.name, phase.inputs)
        if resume:
            trainer.resume()
        samples = make_dataset(**phase.data)
        stop = (until or {}).get(phase.name)
        listeners = observers(phase, trainer, pipeline) if observers else ()
        trainer.fit(samples, observers=tuple(listeners), until=stop)
        if stop is not None and stop < phase.settings.steps:
            return model
        trainer.use_average()
        _normalize(pipeline, phase, samples)
        _save_components(pipeline, phase, model)
        done.write_text(f"{trainer.step} steps\n", encoding="utf-8")
    return _finish(recipe, model)


def _check(recipe: Recipe) -> None:
    """Finds what is wrong with any phase before the first one takes its hours."""
    for phase in recipe.phases:
        pipeline = _pipeline(recipe, phase, None)
        check_factors(phase.settings, phase.train)
        samples = make_dataset(**phase.data)
        if not len(samples):
            raise ConfigError(f"Phase {phase.name!r} has no samples: {phase.data}.")
        pipeline.check(phase.inputs, collate([samples[0]]))
    known = {slot for _, block in blocks_of(_graph(recipe, {})) for slot in block.slots()}
    for name in (*recipe.components, *recipe.zero):
        if name not in known:
            raise ConfigError(
                f"Recipe {recipe.name!r} configures {name!r}, which is no component of template "
                f"{recipe.template!r}.{nearest(name, known)}"
            )


def _normalize(pipeline: TrainingPipeline, phase: Phase, samples: Samples) -> None:
    """Folds the statistics of the latents into the autoencoder, if the phase asks for it."""
    if not phase.normalize_latents:
        return
    chosen = range(min(phase.normalize_latents, len(samples)))
    name = next(name for name, target in phase.inputs.items() if target == "pixels")
    pictures = collate([samples[index] for index in chosen])[name]
    for _, block in blocks_of(pipeline.graph):
        if isinstance(block, AutoencoderKLCodec):
            vae = block.vae
            normalize_latents(vae, [each.to(vae.device) for each in pictures.split(64)])


def _pipeline(recipe: Recipe, phase: Phase, model: Path | None) -> TrainingPipeline:
    graph = _graph(recipe, phase.nodes)
    _fill(graph, recipe, model)
    pipeline = TrainingPipeline(graph, train_nodes=phase.train, wiring=phase.wiring)
    check_files(graph)
    return pipeline


def _graph(recipe: Recipe, nodes: Mapping[str, dict[str, Any] | None]) -> ComputeGraph:
    graph, _ = resolve_template(recipe.template)
    for name, settings in {**recipe.nodes, **nodes}.items():
        if settings is None:
            graph.remove_node(name)
        elif name in graph.nodes:
            graph.replace_node(name, **settings)
        else:
            graph.add_node(name, **settings)
    return graph


def _fill(graph: ComputeGraph, recipe: Recipe, model: Path | None) -> None:
    """Takes components from phases that are done, else fresh from their configuration.

    Without a folder all are fresh, and the text encoder knows nothing of its tokenizer: enough to
    plan with.
    """
    for _, block in blocks_of(graph):
        for name, slot in block.slots().items():
            if model is not None and (model / slot.folder).is_dir():
                block.load_from(**{name: FolderSource(model)})
            elif name in recipe.components:
                values = {**recipe.components[name]}
                if name == "text_encoder" and model is not None:
                    values |= _vocabulary(model)
                zero = recipe.zero.get(name, ())
                source = FreshSource(values, seed=recipe.seed, zero=zero)
                block.load_from(**{name: source})


def _vocabulary(model: Path) -> dict[str, int]:
    """Gives what a text encoder's configuration must say of the tokenizer."""
    from transformers import CLIPTokenizer  # noqa: PLC0415 - recipes are read without it

    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _save_components(pipeline: TrainingPipeline, phase: Phase, model: Path) -> None:
    for name in phase.train:
        block = pipeline.graph.block(name)
        for slot in block.slots().values():
            if isinstance(getattr(block, slot.name), torch.nn.Module):
                getattr(block, slot.name).save_pretrained(model / slot.folder)


def _finish(recipe: Recipe, model: Path) -> Path:
    """Writes the model whole, its weights in half precision."""
    graph = _graph(recipe, {})
    _fill(graph, recipe, model)
    for _, block in blocks_of(graph):
        for slot in block.slots().values():
            if slot.name in block.sources and isinstance(
                getattr(block, slot.name), torch.nn.Module
            ):
                getattr(block, slot.name).half()
    final = model.parent / recipe.name
    save_pipeline(graph, None, final)
    _tidy_configs(final)
    return final


def _tidy_configs(model: Path) -> None:
    """Takes the run's folder out of the configurations, and has files be read as float32.

    transformers reads half-precision files in half precision unless told otherwise, Diffusers in
    float32, and a pipeline whose parts differ cannot run.
    """
    for path in model.glob("*/*config.json"):
        config = read_json(path)
        config.pop("_name_or_path", None)
        if "dtype" in config:
            config["dtype"] = "float32"
        path.write_text(f"{json.dumps(config, indent=2)}\n", encoding="utf-8")

"""What keeps a pipeline's memory small, under the names that Diffusers' pipelines have for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.hooks import apply_layerwise_casting
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import nn

from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.core.component import Given
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.identity import note_surroundings
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.travelling import start_travel
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.placement.devices import accelerator, checked_device
from yggdrasil.pipelines.placement.offloading import (
    ModelOffload,
    group_offload,
    sequential_offload,
)
from yggdrasil.pipelines.placement.placing import Place
from yggdrasil.pipelines.placement.remembered import as_words
from yggdrasil.pipelines.placement.treatments import Treatment, Treatments

__all__ = ["PipelineMemory"]

_OFFLOAD, _CASTING = "offload", "layerwise casting"
_OFFLOAD_TYPES = ("block_level", "leaf_level")


def _active_backend() -> str:
    return str(_AttentionBackendRegistry.get_active_backend()[0])


# A model whose backend is not set has the one of the process.
note_surroundings(_active_backend)


class PipelineMemory(ABC):
    """The methods of a pipeline that say where and how its models are kept.

    Each holds for the models that are loaded and for those that are loaded later.
    """

    graph: ComputeGraph
    _runtime: Runtime
    _placement: Place
    _treatments: Treatments

    @property
    @abstractmethod
    def components(self) -> dict[str, Any]:
        """The models, tokenizers and schedulers by name."""

    @abstractmethod
    def _fill(self) -> None:
        """Gives nodes their components and their place."""

    # -- what there is ---------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device on which the models compute; where they will, while none is loaded."""
        for _, model in self._loaded():
            return computing_device(model)
        return self._placement[0] or torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first model; of several, ``components`` tell."""
        for _, model in self._loaded():
            return next((each.dtype for each in model.parameters()), torch.float32)
        return self._placement[1] or torch.float32

    # Hidden from the type checker, to which every name would be one.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Gives a component by its name, as in ``pipe.vae``, loaded if it was not."""
            graph = None if name.startswith("_") else vars(self).get("graph")
            known = []
            for _, block in () if graph is None else blocks_of(graph):
                for slot_name, slot in block.slots().items():
                    known.append(slot.folder)
                    if slot.folder == name and (slot_name in block.sources or slot.optional):
                        found = getattr(block, slot_name)
                        self._treat()
                        return found
            raise AttributeError(
                f"{type(self).__name__} has neither an attribute nor a component {name!r}."
                f"{nearest(name, known) if known else ''}"
            )

    # -- the VAE ---------------------------------------------------------------------------------

    def enable_vae_tiling(self) -> None:
        """Has VAEs encode and decode in overlapping tiles: large pictures in less memory."""
        self._switch("vae tiling", "enable_tiling", "disable_tiling")

    def disable_vae_tiling(self) -> None:
        """Has VAEs encode and decode whole pictures again."""
        self._treatments.put("vae tiling", None)

    def enable_vae_slicing(self) -> None:
        """Has VAEs encode and decode the pictures of a batch one by one."""
        self._switch("vae slicing", "enable_slicing", "disable_slicing")

    def disable_vae_slicing(self) -> None:
        """Has VAEs encode and decode whole batches again."""
        self._treatments.put("vae slicing", None)

    # -- attention -------------------------------------------------------------------------------

    def enable_attention_slicing(self, slice_size: str | int | None = "auto") -> None:
        """Has attention computed in several steps, in less memory.

        Args:
            slice_size: ``auto`` for two steps, ``max`` for as many as there are heads, or how many
                heads a step; None for one step.
        """
        if slice_size is None:
            self._treatments.put("attention slicing", None)
            return
        self._put(
            "attention slicing",
            Treatment(
                lambda _, model: model.set_attention_slice(slice_size),
                lambda _, model: model.set_attention_slice(None),
                lambda _, model: hasattr(model, "set_attention_slice"),
                ("enable_attention_slicing", as_words({"slice_size": slice_size})),
            ),
        )

    def disable_attention_slicing(self) -> None:
        """Has attention computed in one step again."""
        self.enable_attention_slicing(None)

    def set_attention_backend(self, backend: str, components: Sequence[str] | None = None) -> None:
        """Chooses who computes attention, as the models of Diffusers do by a method of this name.

        Args:
            backend: Of Diffusers' ``AttentionBackendName``, such as ``native`` or ``flash``.
            components: Names of the models; all that have the method unless given.

        Raises:
            ConfigError: There is no such backend, or no such model.
        """
        known = [each.value for each in AttentionBackendName]
        if backend.lower() not in known:
            raise ConfigError(
                f"There is no attention backend {backend!r}.{nearest(backend.lower(), known)}"
            )
        before = _AttentionBackendRegistry.get_active_backend()[0]

        def undo(_: str, model: Any) -> None:
            model.reset_attention_backend()
            _AttentionBackendRegistry.set_active_backend(before)

        self._put(
            "attention backend",
            Treatment(
                lambda _, model: model.set_attention_backend(backend),
                undo,
                self._named(components, "set_attention_backend"),
                (
                    "set_attention_backend",
                    as_words({"backend": backend, "components": components}),
                ),
            ),
        )

    def reset_attention_backend(self) -> None:
        """Has PyTorch compute attention again, or whoever did before."""
        self._treatments.put("attention backend", None)

    # -- offloading ------------------------------------------------------------------------------

    def enable_model_cpu_offload(
        self,
        gpu_id: int | None = None,
        device: torch.device | str | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        """Keeps models on the CPU but while they are wanted, one after another as the plan runs.

        Args:
            gpu_id: The number of the accelerator.
            device: The accelerator; the machine's own unless given.
            exclude: Names of components that stay on the accelerator.

        Raises:
            ConfigError: The machine has none, or models are offloaded in groups.
        """
        self._refuse_groups("enable_model_cpu_offload")
        where = accelerator(device, gpu_id, "enable_model_cpu_offload")
        offload = ModelOffload(where, frozenset(exclude))
        self._offload(offload.treatment)
        self._runtime.mover = offload

    def enable_sequential_cpu_offload(
        self,
        gpu_id: int | None = None,
        device: torch.device | str | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        """Keeps layers on the CPU but while they compute: least memory, and slow.

        Args:
            gpu_id: As for ``enable_model_cpu_offload``.
            device: As for ``enable_model_cpu_offload``.
            exclude: As for ``enable_model_cpu_offload``.

        Raises:
            ConfigError: The machine has no accelerator, or models are offloaded in groups.
        """
        self._refuse_groups("enable_sequential_cpu_offload")
        where = accelerator(device, gpu_id, "enable_sequential_cpu_offload")
        self._offload(sequential_offload(where, frozenset(exclude)))

    def enable_group_offload(
        self,
        onload_device: torch.device | str,
        offload_device: torch.device | str = "cpu",
        offload_type: str = "block_level",
        num_blocks_per_group: int | None = None,
        exclude_modules: str | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        """Keeps groups of layers on the CPU but while they compute.

        Args:
            onload_device: Where they compute.
            offload_device: Where they are kept.
            offload_type: ``block_level`` or ``leaf_level``.
            num_blocks_per_group: How many blocks are a group; needed for ``block_level``.
            exclude_modules: Names of components that stay where they compute.
            **options: Further ones of Diffusers' ``apply_group_offloading``, such as
                ``use_stream``.

        Raises:
            ConfigError: An option cannot be right.
        """
        self._refuse_groups("enable_group_offload")
        if offload_type not in _OFFLOAD_TYPES:
            raise ConfigError(
                f"offload_type is {offload_type!r}.{nearest(offload_type, _OFFLOAD_TYPES)}"
            )
        if offload_type == "block_level" and num_blocks_per_group is None:
            raise ConfigError(
                "offload_type='block_level' wants num_blocks_per_group, such as 1: how many "
                "blocks are brought at once."
            )
        onload = checked_device(onload_device)
        given = {
            "onload_device": onload,
            "offload_device": checked_device(offload_device),
            "offload_type": offload_type,
            "num_blocks_per_group": num_blocks_per_group,
            **options,
        }
        excluded = [exclude_modules] if isinstance(exclude_modules, str) else exclude_modules or ()
        self._offload(group_offload(given, onload, frozenset(excluded)))
        self._grouped = True

    def remove_all_hooks(self) -> None:
        """Ends offloading of every kind; the models are on the CPU then."""
        self._offload(None)

    # -- casting ---------------------------------------------------------------------------------

    def enable_layerwise_casting(
        self,
        storage_dtype: torch.dtype = torch.float8_e4m3fn,
        compute_dtype: torch.dtype | None = None,
        components: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        """Keeps weights in a narrow dtype, and casts each layer while it computes.

        What was cast has lost what the narrow dtype does not hold, so this is not undone.

        Args:
            storage_dtype: The narrow one.
            compute_dtype: Of the computation; that of each model unless given.
            components: Names of the models; the backbones unless given.
            **options: Of Diffusers' ``enable_layerwise_casting``.

        Raises:
            ConfigError: It was enabled before, or there is no such model.
        """
        if _CASTING in self._treatments:
            raise ConfigError(
                "The weights were cast by enable_layerwise_casting already, and what they lost is "
                "gone: make the pipeline anew to cast them otherwise."
            )
        backbones = {
            slot.folder
            for _, block in blocks_of(self.graph)
            if block.role == "backbone"
            for slot in block.slots().values()
        }
        names = sorted(backbones) if components is None else components

        def do(_: str, model: Any) -> None:
            computes_in = compute_dtype or next(model.parameters()).dtype
            start_travel(model, f"layerwise casting to {computes_in}")
            if hasattr(model, "enable_layerwise_casting"):
                model.enable_layerwise_casting(storage_dtype, compute_dtype, **options)
            else:
                patterns = {"skip_modules_pattern": DEFAULT_SKIP_MODULES_PATTERN, **options}
                apply_layerwise_casting(model, storage_dtype, computes_in, **patterns)

        given = {"storage_dtype": storage_dtype, "compute_dtype": compute_dtype, **options}
        said = ("enable_layerwise_casting", as_words({**given, "components": components}))
        self._put(_CASTING, Treatment(do, fits=self._named(names, None), said=said))

    # -- inside ----------------------------------------------------------------------------------

    _grouped = False

    def _treat(self) -> None:
        """Does to models that were loaded since what is done to all."""
        self._treatments.give(self._loaded())

    def _put(self, sort: str, treatment: Treatment | None) -> None:
        self._treatments.put(sort, treatment)
        self._treat()

    def _offload(self, treatment: Treatment | None) -> None:
        self._runtime.mover = None
        self._grouped = False
        if self._placement[0] is not None:
            # What is loaded from now on stays on the CPU until hooks bring it.
            self._placement = (None, self._placement[1])
            for _, block in blocks_of(self.graph):
                _, dtype = block.placement or self._placement
                block.placement = (None, dtype)
        self._put(_OFFLOAD, treatment)

    def _switch(self, sort: str, on: str, off: str) -> None:
        """Calls a method of the models that have it, and another one when that is undone."""
        self._put(
            sort,
            Treatment(
                lambda _, model: getattr(model, on)(),
                lambda _, model: getattr(model, off)(),
                lambda _, model: hasattr(model, on),
                (f"enable_{sort.replace(' ', '_')}", {}),
            ),
        )

    def _named(
        self, components: Sequence[str] | None, method: str | None
    ) -> Callable[[str, Any], bool]:
        """Says which models are meant; names that no model has are refused."""
        names = [slot.folder for _, b in blocks_of(self.graph) for slot in b.slots().values()]
        for name in components or ():
            if name not in names:
                raise ConfigError(
                    f"{name!r} is no component of this pipeline.{nearest(name, names)}"
                )
        return lambda name, model: (
            (components is None or name in components)
            and (method is None or hasattr(model, method))
        )

    def _refuse_hooked(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Refuses to move or cast models that hooks move, which would undo what these do."""
        if _OFFLOAD in self._treatments and (device is not None or dtype is not None):
            raise ConfigError(
                f"to({device or dtype}): hooks bring the models to their device and away again. "
                "Call remove_all_hooks() first, then to(...), then offload anew."
            )
        if _CASTING in self._treatments and dtype is not None:
            raise ConfigError(
                f"to({dtype}): enable_layerwise_casting keeps weights in a dtype of its own and "
                "casts each layer to the one that it was given: call to(...) before it."
            )

    def _refuse_groups(self, method: str) -> None:
        if self._grouped:
            raise ConfigError(
                f"{method}: the models are offloaded in groups already, which does not go "
                "together. Call remove_all_hooks() first."
            )

    def _loaded(self) -> Iterator[tuple[str, nn.Module]]:
        """Gives the models that are loaded, by name; one that blocks share comes once."""
        seen: set[int] = set()
        for _, block in blocks_of(self.graph):
            slots = block.slots()
            for name, source in block.sources.items():
                if isinstance(source, Given):  # it is there, and somebody else may have it too
                    getattr(block, name)
            for name, model in block.named_children():
                if name in slots and id(model) not in seen:
                    seen.add(id(model))
                    yield slots[name].folder, model

"""Adapters: changes to the weights of other blocks, put on for a run and taken off again.

An adapter has no tensor edge. A patch joins it to every op of the blocks that it changes: it is
part of their cache keys, and the executor puts it on for the calls of those blocks alone, for a
whole loop at a time. So a block that shares a model with a patched one never sees the patch.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from yggdrasil.core.adapter_files import FileFinder
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ExecutionError

__all__ = [
    "CHANGED",
    "AbstractAdapter",
    "Patch",
    "PatchedBlock",
    "changing",
    "check_unchanged",
    "patched",
]

CHANGED: dict[int, nn.Module] = {}
"""The models that adapters change at this moment, by ``id``; no other run of one may begin."""


class Patch(NamedTuple):
    """One adapter, as a block that it changes sees it.

    Attributes:
        node: The adapter's node.
        adapter: The adapter.
        among: Every block that the adapter changes, the one itself included.
    """

    node: str
    adapter: AbstractAdapter
    among: tuple[AbstractBaseBlock, ...]


PatchedBlock = tuple[AbstractBaseBlock, tuple[Patch, ...]]
"""A block and what changes it, in order."""


class AbstractAdapter(AbstractBaseBlock):
    """A change to the weights of other blocks that can be taken off again, such as a LoRA.

    Which nodes it changes is said by ``PATCHES`` in ``core/role_rules.py``, unless its argument
    ``targets`` names them.
    """

    role: ClassVar[str] = "adapter"

    @property
    def targets(self) -> tuple[str, ...]:
        """The nodes that it changes, by name; empty where the rules say it."""
        return tuple(self.config.get("targets") or ())

    def check(self, among: Sequence[AbstractBaseBlock]) -> None:
        """Refuses what cannot be right, as far as it can be told by now.

        Asked before models are loaded, and once more when they are.

        Args:
            among: The blocks that it changes.

        Raises:
            YggdrasilError: It does not fit them.
        """

    def grow(self, among: Sequence[AbstractBaseBlock]) -> None:
        """Makes the parameters that training changes, for blocks whose models are loaded.

        Args:
            among: The blocks that it changes.
        """

    def held_tensors(self) -> Mapping[str, Tensor]:
        """Gives the tensors that it read from files, for digests; none before it ran."""
        return {}

    def save_files(self, folder: Path, among: Sequence[AbstractBaseBlock]) -> Mapping[str, Any]:
        """Saves what it reads from files, or what training made of it.

        Args:
            folder: Where; made where there is something to save.
            among: The blocks that it changes.

        Returns:
            By argument of the constructor: the file there that it is to name, or None for one that
            is to say nothing any more.
        """
        del folder, among
        return {}

    def find_files(self, finder: FileFinder | None = None) -> None:
        """Finds the files that its arguments name; those that are not here may be fetched.

        Args:
            finder: Finds those that are not on this machine, from now on, unless the adapter was
                given another before.

        Raises:
            ModelError: One cannot be had.
        """
        del finder

    def named_files(self) -> tuple[str, ...]:
        """Gives what its arguments name: files, folders, models."""
        return ()

    def settled_files(self) -> Mapping[str, Any]:
        """Gives arguments that name the very files that it reads, whatever becomes of a branch.

        Returns:
            By argument of the constructor, where it is to be another than now.
        """
        return {}

    def open_files(self, folder: Path, *, store: Path | None = None) -> None:
        """Has files that its arguments name found in the folder of a saved pipeline.

        Args:
            folder: The pipeline's.
            store: Where links in the folder may lead to; the folder itself unless given.

        Raises:
            ModelError: One lies outside it.
        """
        del folder, store

    @abstractmethod
    def mark(self, block: AbstractBaseBlock, among: Sequence[AbstractBaseBlock]) -> bytes | None:
        """Gives what changes whenever the adapter changes a block otherwise than before.

        Args:
            block: One of those that it may change.
            among: All of them.

        Returns:
            A part of the block's cache keys; None where it leaves the block as it is.
        """

    @classmethod
    @abstractmethod
    def applied(
        cls, block: AbstractBaseBlock, patches: Sequence[Patch]
    ) -> contextlib.AbstractContextManager[None]:
        """Puts adapters of this class on a block for as long as the context is open.

        After it, the block computes the very bits that it computed before.

        Args:
            block: The block, its models loaded.
            patches: The adapters of this class that change it, in order.
        """


@contextlib.contextmanager
def patched(blocks: Sequence[PatchedBlock]) -> Iterator[None]:
    """Puts the adapters of some blocks on, and takes them off in the end.

    Args:
        blocks: Each with its patches.
    """
    with contextlib.ExitStack() as stack:
        for block, patches in blocks:
            for cls in dict.fromkeys(type(patch.adapter) for patch in patches):
                own = [patch for patch in patches if type(patch.adapter) is cls]
                stack.enter_context(cls.applied(block, own))
        yield


@contextlib.contextmanager
def changing(model: nn.Module) -> Iterator[None]:
    """Notes that a model is changed for as long as the context is open.

    Args:
        model: One that an adapter is put on.
    """
    CHANGED[id(model)] = model
    try:
        yield
    finally:
        CHANGED.pop(id(model), None)


def check_unchanged(blocks: Iterable[AbstractBaseBlock]) -> None:
    """Refuses to run blocks whose models another run has changed and has not yet put back.

    Args:
        blocks: What is about to run.

    Raises:
        ExecutionError: A model of theirs is changed.
    """
    for block in blocks:
        for name, model in block.named_children():
            if id(model) in CHANGED:
                raise ExecutionError(
                    f"The {name!r} of {type(block).__name__} carries the adapters of another run "
                    "that has not ended, so this one would give other numbers: run one after the "
                    "other, or give each models of its own."
                )

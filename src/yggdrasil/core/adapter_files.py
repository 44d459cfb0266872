"""Files that adapters read and that are not on this machine: what is wanted, and who finds it.

As with components, where files come from is the business of the layers above.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from yggdrasil.core.errors import ModelError

__all__ = ["FileFinder", "FoundFile", "WantedFile", "check_inside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file of a model elsewhere.

    Attributes:
        model: The model's id, if need be with ``@revision``, or the address of the file.
        file: The file's name in it; chosen among those that it has if None.
        revision: A branch, tag or commit.
        subfolder: The part of the model that it is in.
        usual: What such files are usually called, the likeliest first.
        beside: Small files that are read with it where they lie beside it.
        never: Parts of the names of files that are something else.
    """

    model: str
    file: str | None = None
    revision: str | None = None
    subfolder: str | None = None
    usual: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that was found, and the name by which the very same is found again.

    Attributes:
        path: Where it lies.
        model: The model's id.
        revision: The commit.
        file: The file's name in the model, with its folders.
    """

    path: Path
    model: str
    revision: str
    file: str


class FileFinder(Protocol):
    """Somewhere files can be had from, such as a hub."""

    def takes(self, model: str) -> bool:
        """Says whether a text that names nothing on this machine is a name that it knows.

        Args:
            model: As in ``WantedFile``.
        """
        ...

    def __call__(self, wanted: WantedFile) -> FoundFile:
        """Fetches a file, if it may.

        Args:
            wanted: Which.

        Raises:
            ModelError: It cannot be had.
        """
        ...


def check_inside(name: str, path: str | None) -> None:
    """Refuses a part of a model's files that lies outside it.

    Args:
        name: Of the argument that says it.
        path: Relative to the model.

    Raises:
        ModelError: It leads out.
    """
    parts = PurePosixPath(path or "")
    if parts.is_absolute() or ".." in parts.parts or "\\" in str(parts):
        raise ModelError(f"{name} is {path!r}, which leads out of the model.")

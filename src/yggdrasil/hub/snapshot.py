"""A model on the hub at one commit, of which only what is asked for is fetched."""

from __future__ import annotations

import glob
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import HfApi, errors, snapshot_download

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.refusals import FAILURES, refused

__all__ = ["Snapshot", "open_snapshot"]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A model on the hub at one commit.

    Attributes:
        model: Its id.
        commit: Of its revision, so that files of different commits never mix.
        root: The folder in the cache that its files are put in.
        files: Names of the files that it has, relative to the root.
        complete: Whether ``files`` are all that it has; else they are those that the cache holds.
        subfolder: The part of the model that the root is; "" for all of it.
        options: How the hub is asked.
    """

    model: str
    commit: str
    root: Path
    files: Collection[str]
    complete: bool
    subfolder: str
    options: HubOptions

    def describe(self) -> str:
        """Names model and commit in the form that ``locate`` takes."""
        return f"{self.model}@{self.commit}"

    def in_folder(self, folder: str) -> set[str]:
        """Gives the names of the files of a component's folder, without those of folders in it."""
        start = f"{folder}/"
        inside = (name.removeprefix(start) for name in self.files if name.startswith(start))
        return {name for name in inside if "/" not in name}

    def advice(self) -> str:
        """Says what to do where something is not among the files."""
        if self.complete:
            return "The model on the hub is not whole."
        return (
            f"The hub was not asked, and only this much of {self.model!r} is in the cache: call "
            "once with the network on."
        )

    def fetch(self, names: Iterable[str], *, then: Iterable[str] = ()) -> None:
        """Fetches files, unless the cache holds them.

        Args:
            names: Relative to the root.
            then: Names of files that will be fetched next; the error names those as well.

        Raises:
            ModelError: The hub does not give them.
        """
        lost = self._lost(names)
        if lost:
            missing = sorted({*lost, *self._lost(then)})
            _download(self.model, self.commit, lost, self.options, missing)

    def _lost(self, names: Iterable[str]) -> list[str]:
        """Gives which files the cache does not hold, relative to the model."""
        lost = sorted(name for name in names if not (self.root / name).is_file())
        return [f"{self.subfolder}/{name}".lstrip("/") for name in lost]


def open_snapshot(
    model: str,
    needed: str,
    *,
    also: Collection[str] = (),
    subfolder: str = "",
    options: HubOptions,
) -> Snapshot:
    """Asks the hub for a model's commit and files, and fetches the first of them.

    Args:
        model: An id, ``organisation/name``.
        needed: Name of the file that everything begins with; the caller looks whether it came.
        also: Names of files to fetch with it where the model has them.
        subfolder: The part of the model that is wanted.
        options: How the hub is asked. Where it cannot be reached, the cache stands for it.

    Raises:
        ModelError: The model is missing, private or gated, has no such revision, or cannot be
            reached and is not in the cache.
    """
    if ".." in (options.revision or ""):
        # No name that git knows has two dots; as part of a path it would lead out of the cache.
        raise ModelError(f"The model {model!r} has no revision {options.revision!r}.")
    inside = f"{subfolder}/" if subfolder else ""
    first = [f"{inside}{name}" for name in (needed, *also)]
    folder = _download(model, options.revision, first, options, first[:1])
    known = _listing(model, folder, options)
    cached = (path for path in folder.rglob("*") if path.is_file())
    files = [each.relative_to(folder).as_posix() for each in cached] if known is None else known
    return Snapshot(
        model=model,
        commit=folder.name,
        root=folder / subfolder,
        files=frozenset(n.removeprefix(inside) for n in files if n.startswith(inside)),
        complete=known is not None,
        subfolder=subfolder,
        options=options,
    )


def _download(
    model: str,
    revision: str | None,
    names: list[str],
    options: HubOptions,
    missing: list[str],
) -> Path:
    """Fetches files by name; gives the folder of the commit.

    Args:
        model: An id.
        revision: Of the model.
        names: Of the files; those that it does not have are passed over.
        options: How the hub is asked.
        missing: The files that are missed if it fails, for the message.

    Raises:
        ModelError: The hub does not give them.
    """
    remarks = logging.getLogger(snapshot_download.__module__)
    remarks.addFilter(_is_no_remark)
    try:
        folder = snapshot_download(
            model,
            revision=revision,
            token=options.token,
            cache_dir=None if options.cache_dir is None else Path(options.cache_dir),
            local_files_only=options.local_files_only,
            allow_patterns=[glob.escape(name) for name in names],
        )
    except FAILURES as error:
        raise refused(error, model, revision, missing, options) from error
    finally:
        remarks.removeFilter(_is_no_remark)
    return Path(folder)


def _is_no_remark(record: logging.LogRecord) -> bool:
    """Keeps back that no file matched: whoever asked looks, and may not have known the name."""
    return not record.getMessage().startswith("No files matched")


def _listing(model: str, folder: Path, options: HubOptions) -> list[str] | None:
    """Gives the names of all files of a commit, or None where nobody tells."""
    # Newer versions of the library note them in the cache.
    noted = getattr(huggingface_hub, "get_cached_repo_tree", None)
    if noted is not None:
        try:
            tree = noted(model, revision=folder.name, cache_dir=folder.parents[2])
            return [each.path for each in tree]
        except errors.CachedRepoTreeNotFoundError:
            pass  # an older version fetched them
    if options.local_files_only:
        return None
    try:
        return HfApi(token=options.token).list_repo_files(model, revision=folder.name)
    except FAILURES:
        return None  # what was fetched above came from the cache

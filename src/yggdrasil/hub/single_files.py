"""One file of a model on the hub, such as a LoRA's: chosen by its name, fetched alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from yggdrasil.core.adapter_files import FoundFile, WantedFile, check_inside
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.addresses import is_address, read_address
from yggdrasil.hub.locate import is_hub_id
from yggdrasil.hub.snapshot import Snapshot, open_snapshot

__all__ = ["HubFiles"]

_SUFFIX = ".safetensors"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Finds single files on the hub; a ``FileFinder``.

    Attributes:
        options: How the hub is asked. Its revision counts where the file names none.
        unasked: Whether whoever names the file is not the caller, who allowed nothing to be
            fetched; for the message.
    """

    options: HubOptions = field(default_factory=HubOptions)
    unasked: bool = False

    def takes(self, model: str) -> bool:
        """Says whether a text is an id of the hub, or an address.

        Args:
            model: The text.
        """
        return (is_hub_id(model) and not model.endswith((_SUFFIX, *_PICKLED))) or is_address(model)

    def __call__(self, wanted: WantedFile) -> FoundFile:
        """Fetches a file, unless the cache holds it.

        Args:
            wanted: Which.

        Raises:
            ModelError: The hub does not give the model, it has no such file, or several that could
                be meant, or the file is pickled.
        """
        if not self.unasked:
            return _find(_in_parts(wanted), self.options)
        try:
            return _find(_in_parts(wanted), self.options)
        except ModelError as error:
            at = "" if wanted.revision is None else f" at revision {wanted.revision}"
            raise ModelError(
                f"{wanted.file or 'A file'} of the model {wanted.model!r}{at} is not on this "
                "machine, and nothing is fetched unasked. To fetch it from the hub give "
                f"--allow-download (allow_download=True). In detail: {error}"
            ) from error


def _in_parts(wanted: WantedFile) -> WantedFile:
    """Reads an address, or a revision in the name of the model.

    Raises:
        ModelError: Something is said twice, and not alike.
    """
    if is_address(wanted.model):
        model, revision, file = read_address(wanted.model)
        _refuse_other("weight_name", file, wanted.file)
        _refuse_other("subfolder", None, wanted.subfolder)
    else:
        model, _, revision = wanted.model.partition("@")
        file = wanted.file or ""
    if revision:
        _refuse_other("revision", revision, wanted.revision)
    return replace(
        wanted, model=model, revision=revision or wanted.revision, file=file or wanted.file
    )


def _refuse_other(name: str, said: str | None, given: str | None) -> None:
    if given not in (None, said):
        raise ModelError(
            f"{name} is {given!r}, and the name of the file says {said or 'none'}: say it once."
        )


def _find(wanted: WantedFile, options: HubOptions) -> FoundFile:
    options = replace(options, revision=wanted.revision or options.revision)
    check_inside("weight_name", wanted.file)
    check_inside("subfolder", wanted.subfolder)
    if wanted.file is not None and not wanted.file.endswith(_SUFFIX):
        raise ModelError(f"{wanted.file!r} of {wanted.model!r}: {_not_read(wanted.file)}")
    first = wanted.file or (wanted.usual[0] if wanted.usual else "")
    snapshot = open_snapshot(
        wanted.model,
        first,
        also=_beside(wanted, first),
        subfolder=wanted.subfolder or "",
        options=options,
    )
    name = _chosen(wanted, snapshot) if wanted.file is None else wanted.file
    if name not in snapshot.files and not (snapshot.root / name).is_file():
        raise ModelError(_no_such_file(name, snapshot))
    there = [each for each in _beside(wanted, name) if each in snapshot.files]
    snapshot.fetch([name, *there])
    return FoundFile(
        path=snapshot.root / name,
        model=snapshot.model,
        revision=snapshot.commit,
        file=f"{snapshot.subfolder}/{name}".lstrip("/"),
    )


def _beside(wanted: WantedFile, name: str) -> list[str]:
    return [str(PurePosixPath(name).with_name(each)) for each in wanted.beside]


def _chosen(wanted: WantedFile, snapshot: Snapshot) -> str:
    """Chooses a file as Diffusers' ``load_lora_weights`` does, but never between several."""
    there = sorted(name for name in snapshot.files if name.endswith(_SUFFIX))
    found = [name for name in there if not any(each in name for each in wanted.never)] or there
    usual = [name for each in wanted.usual for name in found if PurePosixPath(name).name == each]
    if wanted.usual:
        usual = [name for name in found if name.endswith(wanted.usual[0])] or usual
    if not snapshot.complete and not usual and found:
        # The whole list may hold one that would be taken before.
        raise ModelError(
            f"{snapshot.describe()}: {snapshot.advice()} Or name the file: "
            f"weight_name={found[0]!r}."
        )
    candidates = usual or found
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ModelError(
            f"{snapshot.describe()} holds {len(candidates)} files that could be meant: "
            f"{_shown(candidates)}. Name one: weight_name={candidates[0]!r}."
        )
    raise ModelError(f"{snapshot.describe()} holds no {_SUFFIX} file{_instead(snapshot)}")


def _no_such_file(name: str, snapshot: Snapshot) -> str:
    files = [each for each in snapshot.files if each.endswith(_SUFFIX)]
    where = f" in {snapshot.subfolder!r}" if snapshot.subfolder else ""
    if not snapshot.complete:
        return f"{snapshot.describe()}: {name!r}{where} is not in the cache. {snapshot.advice()}"
    if files:
        return f"{snapshot.describe()} has no file {name!r}{where}.{nearest(name, files)}"
    return f"{snapshot.describe()} has no file {name!r}{where}{_instead(snapshot)}"


def _instead(snapshot: Snapshot) -> str:
    """Says what a model holds that has no file which is read, as the end of a sentence."""
    pickled = sorted(name for name in snapshot.files if name.endswith(_PICKLED))
    if pickled:
        return f". {_shown(pickled)}: {_not_read(pickled[0])}"
    return f"; it has {_shown(sorted(snapshot.files)) or 'nothing'}. {snapshot.advice()}"


def _not_read(name: str) -> str:
    pickled = name.endswith(_PICKLED)
    why = "pickled, and loading it could run any code" if pickled else "in no form that is read"
    return f"it is {why}: only {_SUFFIX} files are fetched. Convert it to safetensors first."


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"

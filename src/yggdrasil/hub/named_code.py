"""Values of a model's texts that name code, which the libraries below would fetch and run.

transformers takes ``"attn_implementation": "organisation/name"`` of a ``config.json`` for a kernel
on the hub, Diffusers a library in ``model_index.json`` for a file of Python beside it. A model is
data: whoever reads one, from wherever, has it looked through here first.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.integrity import read_json

__all__ = ["NamedCode", "find_named_code", "refuse_code_in_folder", "refuse_code_in_index"]

_TAKE_OUT = "take it out"


class _Rule(NamedTuple):
    """Names of values that are refused.

    Attributes:
        names: As for ``fnmatch``.
        why: What a library would do with such a value.
        mend: What to do.
        allowed: The texts that are no code.
    """

    names: str
    why: str
    mend: str = _TAKE_OUT
    allowed: frozenset[str] = frozenset()


# Of transformers 5.23, modeling_utils.py and integrations/moe.py: those that it brings along.
_IMPLEMENTATIONS = frozenset(
    {
        "eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3",
        "flash_attention_4", "grouped_mm", "batched_mm",
    }
)  # fmt: skip

_RULES = (
    _Rule(
        "*_implementation",
        "transformers would fetch and run such a kernel",
        f"{_TAKE_OUT}, or say one of {', '.join(sorted(_IMPLEMENTATIONS))}",
        _IMPLEMENTATIONS,
    ),
    _Rule("*_implementation_internal", "transformers keeps its choice there and writes it nowhere"),
    _Rule("*auto_map", "it names Python code of the model's author"),
    _Rule("custom_pipeline*", "it names Python code of the model's author"),
    _Rule("custom_generate", "it names Python code of the model's author"),
    _Rule("trust_remote_code", "whether code may run is for who runs it to say"),
    _Rule("*kernel_config", "transformers would fetch and run such kernels"),
    _Rule("use_kernels", "transformers would fetch and run kernels"),
    _Rule(
        "quantization_config",
        "its class, and the kernels of that, would be chosen by the model",
        "take the model's plain weights",
    ),
    _Rule("transformers_weights", "transformers would read that file in the place of the weights"),
)

# What Diffusers' own pipelines name; beside them, each of its families names itself.
_LIBRARIES = frozenset({"diffusers", "transformers"})

# transformers would load the base that it names, from wherever that is, and change it.
_ADAPTER = "adapter_config.json"


class NamedCode(NamedTuple):
    """A value that names code.

    Attributes:
        path: Its name, after those of what it is in, such as ``text_config.attn_implementation``.
        value: The value.
        why: What a library would do with it.
        mend: What to do.
    """

    path: str
    value: Any
    why: str
    mend: str

    def refused(self, where: object) -> str:
        """Says that the value is refused.

        Args:
            where: The file or the component that has it.
        """
        shown = repr(self.value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return (
            f"{where} says {self.path}: {shown}, and a model may not name code: {self.why}. To use "
            f"it all the same, {self.mend}."
        )


def find_named_code(values: Mapping[str, Any]) -> NamedCode | None:
    """Finds the first value of a configuration that names code, however deep it lies.

    Args:
        values: As read of JSON or YAML.
    """
    for path, name, value in _named(values):
        for rule in _RULES:
            if fnmatch.fnmatchcase(name, rule.names) and not _is_harmless(value, rule.allowed):
                return NamedCode(path, value, rule.why, rule.mend)
    return None


def refuse_code_in_folder(folder: Path) -> None:
    """Refuses a component whose texts name code.

    Args:
        folder: Such as ``model/text_encoder``.

    Raises:
        ModelError: One does, or cannot be read.
    """
    if (folder / _ADAPTER).is_file():
        raise ModelError(
            f"{folder / _ADAPTER} makes an adapter of the component, and says which other model it "
            "changes, from wherever. Take the file out; a LoRA is loaded as a block."
        )
    for path in sorted(folder.glob("*config.json")):
        found = find_named_code(read_json(path))
        if found is not None:
            raise ModelError(found.refused(path))


def refuse_code_in_index(index: Mapping[str, Any], path: Path) -> None:
    """Refuses a pipeline whose index names code.

    Args:
        index: What ``model_index.json`` says.
        path: The file, for the message.

    Raises:
        ModelError: It does.
    """
    found = find_named_code(index) or _foreign_library(index)
    if found is not None:
        raise ModelError(found.refused(path))


def _foreign_library(index: Mapping[str, Any]) -> NamedCode | None:
    """Finds a component, or the pipeline itself, whose class is of a library that is not known."""
    for name, entry in index.items():
        listed = isinstance(entry, list) and len(entry) == 2 and entry[0] is not None
        if listed and (name == "_class_name" or not _is_library(entry[0])):
            why = "Diffusers would import it from a file of the model"
            return NamedCode(name, entry, why, "name a class of diffusers or transformers")
    return None


def _is_library(name: object) -> bool:
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        return False
    return name in _LIBRARIES or any((each / name).is_dir() for each in _families())


@functools.cache
def _families() -> tuple[Path, ...]:
    """Gives where Diffusers keeps its pipelines, without importing it."""
    found = importlib.util.find_spec("diffusers")
    places = (found and found.submodule_search_locations) or ()
    return tuple(Path(place) / "pipelines" for place in places)


def _named(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Gives every value under a name, with its path and name, also those inside of others."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                below = f"{path}.{key}".lstrip(".")
                yield below, str(key), inner
                waiting.append((below, inner))
        elif isinstance(value, list | tuple):
            waiting += [(f"{path}[{place}]", each) for place, each in enumerate(value)]


def _is_harmless(value: Any, allowed: frozenset[str]) -> bool:
    """Says whether a value is nothing, or nothing but texts that are allowed."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
        elif each not in (None, False) and not (
            # transformers writes "paged|sdpa" for an implementation over pages of a cache.
            isinstance(each, str) and each.removeprefix("paged|") in allowed
        ):
            return False
    return True

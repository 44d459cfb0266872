"""Files of LoRAs: finding them, and what their tensors' names say before any is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from yggdrasil.core.errors import ModelError

__all__ = [
    "NO_LORAS",
    "PEFT_CONFIG",
    "PEFT_PREFIX",
    "SUFFIX",
    "USUAL_NAMES",
    "FileStamp",
    "Held",
    "check_form",
    "find_file",
    "is_peft",
    "looks_like",
    "not_zero",
    "read_shapes",
    "shown",
    "stamp_of",
]

PEFT_CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
SUFFIX = ".safetensors"
USUAL_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What Diffusers and PEFT call them."""
NO_LORAS = ("scheduler", "optimizer", "checkpoint")
"""Parts of the names of files that Diffusers passes over when it looks for a LoRA."""
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")
_SHOWN = 4

Shapes = Mapping[str, tuple[int, ...]]
Held = Path | Mapping[str, Tensor]
"""A LoRA as it is read: a ``.safetensors`` file, or tensors by the names they would have there."""

_FIRST_CODE = re.compile(r"\.(double|single)_blocks\.")
"""How the code that FLUX came with calls its layers; Diffusers' converters read those names."""

_UNSUPPORTED = (
    ("hada_", "a LoHa (Hadamard products)"),
    ("lokr_", "a LoKr (Kronecker products)"),
    ("oft_", "an OFT (orthogonal transformations)"),
    ("ia3", "an IA3 (scaled activations)"),
    ("glora", "a GLoRA"),
    ("dora_scale", "a DoRA in kohya's layout, whose magnitudes Diffusers leaves out"),
    (".lora_mid.", "a LoCon with a middle factor (Tucker)"),
    (".diff", "whole differences of weights beside the LoRA"),
    ("lora_controlnet", "a ControlNet written as a LoRA"),
    ("query_norm.scale", "a FLUX Control LoRA, which also changes norms and widens a layer"),
    (".norm_added_q.", "a FLUX Control LoRA, which also changes norms and widens a layer"),
)
"""Networks that are kept in files like a LoRA's and are none that Diffusers loads."""

_FAMILIES = (
    ("FLUX.2", re.compile(r"to_qkv_mlp_proj|(double|single)_stream_modulation"), None),
    ("Wan", re.compile(r"diffusion_model\.blocks\.\d+\.(self|cross)_attn\."), None),
    ("FLUX", re.compile(r"single_transformer_blocks|single_blocks|double_blocks"), None),
    ("SD3", re.compile(r"joint_blocks|transformer_blocks\.\d+\.attn\.add_[qkv]_proj"), None),
    ("SDXL", re.compile(r"lora_te2_|text_encoder_2\.|add_embedding|label_emb"), None),
    ("SDXL", re.compile(r"attn2[._](processor\.)?to_[kv]"), 2048),
    ("SD 2", re.compile(r"attn2[._](processor\.)?to_[kv]"), 1024),
    ("SD 1", re.compile(r"attn2[._](processor\.)?to_[kv]"), 768),
)
"""By which names, and width of the factor that reads the text, a family is known."""


class FileStamp(NamedTuple):
    """What changes when a file does.

    Attributes:
        path: Of the file.
        size: In bytes.
        written: When, in nanoseconds.
        beside: When PEFT's configuration beside it was; 0 where there is none.
    """

    path: str
    size: int
    written: int
    beside: int


def stamp_of(path: Path) -> FileStamp:
    """Gives the stamp of a file."""
    stat, beside = path.stat(), path.parent / PEFT_CONFIG
    told = beside.stat().st_mtime_ns if beside.is_file() else 0
    return FileStamp(str(path), stat.st_size, stat.st_mtime_ns, told)


def find_file(weights: Path) -> Path:
    """Finds the file that a LoRA is loaded from.

    Args:
        weights: The file, or a folder that holds it.

    Returns:
        The file, no link followed: in the cache of a hub it is one to a file without a name.

    Raises:
        ModelError: It is not there, no safetensors file, or there are several in the folder.
    """
    path = weights.expanduser()
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise ModelError(
            f"There is no LoRA {str(weights)!r}: neither a file nor a folder is there. Give the "
            "path of a .safetensors file, or of a folder that holds one, or a hub id "
            "(organisation/name)."
        )
    if path.suffix != SUFFIX:
        pickled = path.suffix in _PICKLED
        raise ModelError(
            f"{path} is {'pickled, and loading it could run any code' if pickled else 'no LoRA'}: "
            "only .safetensors files are read."
        )
    return path.absolute()


def _in_folder(folder: Path) -> Path:
    there = sorted(each for each in folder.iterdir() if each.suffix == SUFFIX)
    found = [each for each in there if not any(part in each.name for part in NO_LORAS)] or there
    usual = [each for name in USUAL_NAMES for each in found if each.name == name]
    if usual or len(found) == 1:
        return (usual or found)[0].absolute()
    if not found:
        pickled = [each.name for each in folder.iterdir() if each.suffix in _PICKLED]
        also = f" {pickled[0]} is pickled, which is not read." if pickled else ""
        raise ModelError(f"{folder} holds no .safetensors file.{also}")
    raise ModelError(
        f"{folder} holds {len(found)} LoRAs: {', '.join(each.name for each in found[:5])}. Name "
        f"one: weights={str(found[0])!r}."
    )


def read_shapes(held: Held) -> dict[str, tuple[int, ...]]:
    """Reads names and shapes, off the header of a file.

    Args:
        held: The LoRA.

    Raises:
        ModelError: The file is damaged.
    """
    if not isinstance(held, Path):
        return {name: tuple(tensor.shape) for name, tensor in held.items()}
    try:
        with safe_open(held, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{held} cannot be read: {error}. Copy or download it again.") from error


def check_form(source: str, shapes: Shapes, left_out: Collection[str] = ()) -> None:
    """Refuses a file that is no LoRA, or of a form that is not loaded.

    Args:
        source: What the LoRA is called in messages.
        shapes: Of its tensors, by name.
        left_out: Names that the loader reads over.

    Raises:
        ModelError: It is none.
    """
    for mark, what in _UNSUPPORTED:
        found = [name for name in shapes if mark in name and name not in left_out]
        if found:
            raise ModelError(
                f"{source} is {what}: {shown(found)}. LoRAs are loaded that have two factors for a "
                "layer (lora_A and lora_B, or lora_down and lora_up)."
            )
    if not any("lora" in name for name in shapes):
        raise ModelError(
            f"{source} is no LoRA: no tensor is named after one. It holds {len(shapes)} tensors, "
            f"such as {shown(shapes)}. Models are loaded with from_pretrained or from_single_file."
        )


def is_peft(names: Iterable[str]) -> bool:
    """Says whether PEFT's ``save_pretrained`` named the tensors, of a model of Diffusers."""
    every = list(names)
    return all(name.startswith(PEFT_PREFIX) for name in every) and not any(
        _FIRST_CODE.search(name) for name in every
    )


def not_zero(held: Held, names: Iterable[str]) -> list[str]:
    """Gives those of a LoRA's tensors that are not zero throughout.

    Args:
        held: The LoRA.
        names: Of the tensors.
    """
    if not isinstance(held, Path):
        return [name for name in names if held[name].any()]
    with safe_open(held, framework="pt") as file:
        return [name for name in names if file.get_tensor(name).any()]


def looks_like(shapes: Shapes) -> str:
    """Says which family a LoRA seems to be of, for messages; empty where nothing tells."""
    for family, pattern, width in _FAMILIES:
        for name, shape in shapes.items():
            reads = width is None or (len(shape) > 1 and shape[1] == width and "up" not in name)
            if pattern.search(name) and reads:
                return family
    return ""


def shown(names: Iterable[str]) -> str:
    """Gives the first of some names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more}"

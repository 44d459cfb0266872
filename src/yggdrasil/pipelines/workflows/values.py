"""The values of a call as plain data: what is no text becomes PNG or safetensors."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from yggdrasil.core.cache import copied
from yggdrasil.core.errors import GraphFileError, InputError, nearest
from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.pipelines.workflows.stores import Store

__all__ = [
    "BROKEN",
    "GeneratorState",
    "RandomState",
    "decode",
    "encode",
    "find_device",
    "held",
    "open_file",
    "open_picture",
]

BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
"""What Pillow raises at pictures that are damaged."""

_SAME = "$same"  # in a list: the generator at an earlier place
_WITH_STATE = ("cpu", "cuda")
_WORDS = 624
_FORMATS = ("PNG", "JPEG", "WEBP")  # of others Pillow runs programs (EPS) or reads files


@dataclass(frozen=True, slots=True)
class GeneratorState:
    """A generator as it was at some moment.

    Attributes:
        device: Where it draws.
        seed: What it was seeded with.
        state: Its state then.
    """

    device: str
    seed: int
    state: Tensor

    @classmethod
    def of(cls, generator: torch.Generator) -> GeneratorState:
        """Takes down the state of a generator."""
        return cls(str(generator.device), generator.initial_seed(), generator.get_state())

    def is_fresh(self) -> bool:
        """Whether nothing was drawn since it was seeded, so that the seed says it all."""
        fresh = torch.Generator(self.device).manual_seed(self.seed)
        return torch.equal(fresh.get_state(), self.state)


@dataclass(frozen=True, slots=True)
class RandomState:
    """PyTorch's own generators, which draw where a call is given neither seed nor generator.

    Attributes:
        states: By device.
    """

    states: Mapping[str, Tensor]

    @classmethod
    def now(cls, device: torch.device | None) -> RandomState:
        """Takes down the states.

        Args:
            device: Where the models are; the CPU's generator is always taken down.
        """
        states = {"cpu": torch.get_rng_state()}
        if device is not None and device.type == "cuda":
            states[str(device)] = torch.cuda.get_rng_state(device)
        return cls(states)

    def restore(self) -> None:
        """Puts the states back."""
        for device, state in self.states.items():
            if device == "cpu":
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, device)


def find_device(name: object) -> torch.device | None:
    """Gives a device of this machine, or None where it has no such."""
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError):  # torch's answers where there is none
        return None
    return None if device.type == "meta" else device


def held(value: Any) -> Any:
    """Copies a value of a call as it is before the run, generators by their states.

    Args:
        value: Whatever a call may be given.
    """
    if isinstance(value, torch.Generator):
        return GeneratorState.of(value)
    if isinstance(value, list | tuple | range):
        once: dict[int, Any] = {}  # one generator may stand for several pictures
        return [once.setdefault(id(each), held(each)) for each in value]
    if isinstance(value, Mapping):
        return {key: held(each) for key, each in value.items()}
    return copied(value)


def encode(value: Any, store: Store, name: str) -> Any:
    """Gives a value as plain data.

    Args:
        value: Numbers, texts, PIL pictures, tensors, arrays, states of generators, and lists and
            mappings of them.
        store: Keeps what is no text.
        name: What the value is.

    Raises:
        InputError: The value is something else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return encode(value.item(), store, name)
    if isinstance(value, list | tuple | range):
        firsts: dict[int, int] = {}
        return [
            {_SAME: firsts[id(each)]}
            if isinstance(each, GeneratorState) and firsts.setdefault(id(each), place) != place
            else encode(each, store, f"{name}-{place}")
            for place, each in enumerate(value)
        ]
    for kind, (mark, encoder) in _ENCODERS.items():
        if isinstance(value, kind):
            return {mark: encoder(value, store, name)}
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or key.startswith("$")]
        if wrong:
            raise InputError(f"{name} has the key {wrong[0]!r}, which a file does not take.")
        return {key: encode(each, store, f"{name}-{key}") for key, each in value.items()}
    cls = type(value)
    raise InputError(
        f"{name} is or holds a {cls.__module__}.{cls.__qualname__}, which no file can keep: give "
        "numbers, texts, pictures, tensors, arrays or generators."
    )


def decode(value: Any, store: Store, where: str) -> Any:
    """Gives the value that plain data stands for; a generator is made anew each time.

    Args:
        value: As ``encode`` gave it, or as people write it.
        store: Has what is no text.
        where: For messages.

    Raises:
        GraphFileError: The data stands for nothing, or what it names is missing or damaged.
    """
    if isinstance(value, list):
        made: list[Any] = []
        for place, each in enumerate(value):
            first = each.get(_SAME) if isinstance(each, Mapping) else None
            if isinstance(first, int) and 0 <= first < place:
                made.append(made[first])
            else:
                made.append(decode(each, store, f"{where}[{place}]"))
        return made
    if not isinstance(value, Mapping):
        return value
    marks = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if not marks:
        return {key: decode(each, store, f"{where}.{key}") for key, each in value.items()}
    mark = marks[0]
    if mark not in _DECODERS or len(value) > 1 or not isinstance(value[mark], Mapping):
        hint = nearest(mark, _DECODERS) if mark not in _DECODERS else ""
        raise GraphFileError(f"{where}: {sorted(value)} stands for no value.{hint}")
    return _DECODERS[mark](value[mark], store, where)


def open_picture(data: bytes, where: str) -> PIL.Image.Image:
    """Reads a PNG, JPEG or WebP picture and nothing else.

    Args:
        data: The file.
        where: For messages.

    Raises:
        GraphFileError: It is no such picture, damaged, or too large to be one.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            picture.load()
            return picture.copy()
    except (*BROKEN, PIL.Image.DecompressionBombError) as error:
        raise GraphFileError(f"{where} cannot be read as a picture: {error}") from error


def _encode_picture(value: PIL.Image.Image, store: Store, name: str) -> dict[str, Any]:
    return dict(store.put(name, _png(value, name), "png"))


def _encode_tensor(value: Tensor, store: Store, name: str) -> dict[str, Any]:
    where = {} if value.device.type == "cpu" else {"device": str(value.device)}
    return {**store.put(name, _packed(value, name), "safetensors"), **where}


def _encode_array(value: np.ndarray[Any, Any], store: Store, name: str) -> dict[str, Any]:
    return dict(store.put(name, _packed(_tensor(value, name), name), "safetensors"))


def _encode_generator(value: GeneratorState, store: Store, name: str) -> dict[str, Any]:
    if value.is_fresh():
        return {"device": value.device, "seed": value.seed}
    return {"device": value.device, "state": encode(value.state, store, f"{name}-state")}


def _encode_random(value: RandomState, store: Store, name: str) -> dict[str, Any]:
    return {
        device: encode(state, store, f"{name}-{device}") for device, state in value.states.items()
    }


_ENCODERS: Mapping[type, tuple[str, Callable[[Any, Store, str], dict[str, Any]]]] = {
    PIL.Image.Image: ("$picture", _encode_picture),
    Tensor: ("$tensor", _encode_tensor),
    np.ndarray: ("$array", _encode_array),
    GeneratorState: ("$generator", _encode_generator),
    RandomState: ("$random", _encode_random),
}


def open_file(path: Path, name: str) -> Any:
    """Reads a picture, a tensor (``.safetensors``) or a text (``.txt``) that the user names.

    Args:
        path: The file.
        name: Of the input, for messages.

    Raises:
        InputError: It is not there, or cannot be read.
    """
    where = f"{name}: {path}"
    try:
        data = path.read_bytes()
        if path.suffix == ".txt":
            return data.decode()
        if path.suffix == ".safetensors":
            return _unpacked(data, where)
        return open_picture(data, where)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, GraphFileError) as error:
        raise InputError(f"{where} cannot be read: {error}") from error


def _picture(told: Mapping[str, Any], store: Store, where: str) -> PIL.Image.Image:
    return open_picture(store.get(told, where), where)


def _load_tensor(told: Mapping[str, Any], store: Store, where: str) -> Tensor:
    tensor = _unpacked(store.get(told, where), where)
    return tensor.to(_device(told.get("device", "cpu"), where))


def _unpacked(data: bytes, where: str) -> Tensor:
    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as error:
        raise GraphFileError(f"{where} is no safetensors file, or damaged: {error}") from error
    if len(tensors) != 1:
        raise GraphFileError(f"{where}: the file holds {len(tensors)} tensors, and one is wanted.")
    # A copy, since a view of the file lies at an odd address, and kernels then give other bits.
    (tensor,) = (each.clone() for each in tensors.values())
    return tensor


def _load_array(told: Mapping[str, Any], store: Store, where: str) -> np.ndarray[Any, Any]:
    tensor = _unpacked(store.get(told, where), where)
    try:
        array: np.ndarray[Any, Any] = tensor.numpy()
    except TypeError as error:
        raise GraphFileError(f"{where}: NumPy has no arrays of {tensor.dtype}.") from error
    return array


def _make_generator(told: Mapping[str, Any], store: Store, where: str) -> torch.Generator:
    generator = torch.Generator(_device(told.get("device", "cpu"), where))
    seed = told.get("seed")
    if seed is None:
        return _with_state(generator, told.get("state"), store, where)
    try:
        return generator.manual_seed(seed)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GraphFileError(f"{where} is no generator: {error}") from error


def _random_state(told: Mapping[str, Any], store: Store, where: str) -> RandomState:
    states = {}
    for name, state in told.items():
        device = _device(name, f"{where}.{name}")
        if device.type not in _WITH_STATE:
            raise GraphFileError(f"{where}: no state of {name!r} is kept in files.")
        made = _with_state(torch.Generator(device), state, store, f"{where}.{name}")
        states[str(device)] = made.get_state()
    return RandomState(states)


def _with_state(generator: torch.Generator, told: Any, store: Store, where: str) -> torch.Generator:
    state = decode(told, store, f"{where}.state")
    try:
        if generator.device.type == "cpu":
            _check_place(state)
        return generator.set_state(state)
    except (TypeError, ValueError, LookupError, RuntimeError, AttributeError) as error:
        raise GraphFileError(f"{where} is no generator: {error}") from error


def _check_place(state: Tensor) -> None:
    """Refuses a place in the Mersenne twister's 624 words that no drawing leads to.

    PyTorch does not compare the word to be drawn next with the number of words left, and would
    read on behind the last one, in memory of others.

    Raises:
        ValueError: There is such a place.
    """
    # at::CPUGeneratorImplStateLegacy: seed (8 bytes), left (4), seeded (4), next (8), words.
    left = int(state[8:12].clone().view(torch.int32))
    following = int(state[16:24].clone().view(torch.int64))
    if left + following != _WORDS + 1 and (left, following) != (1, 0):
        raise ValueError(f"{left} words are left at word {following} of {_WORDS}")


_DECODERS: Mapping[str, Callable[[Mapping[str, Any], Store, str], Any]] = {
    "$picture": _picture,
    "$tensor": _load_tensor,
    "$array": _load_array,
    "$generator": _make_generator,
    "$random": _random_state,
}


def _device(name: object, where: str) -> torch.device:
    device = find_device(name)
    if device is None:
        raise GraphFileError(f"{where} lies on {name!r}, a device that this machine does not have.")
    return device


def _png(picture: PIL.Image.Image, name: str) -> bytes:
    """Writes a picture without loss, which is checked.

    Raises:
        InputError: Its mode cannot be kept so.
    """
    written = io.BytesIO()
    try:
        picture.save(written, format="PNG")
        same = fingerprint(open_picture(written.getvalue(), name)) == fingerprint(picture)
    except (*BROKEN, GraphFileError):
        same = False
    if not same:
        raise InputError(
            f"{name} is a picture of mode {picture.mode!r}, which PNG does not keep to the bit: "
            "convert it to RGB first."
        )
    return written.getvalue()


def _packed(tensor: Tensor, name: str) -> bytes:
    try:
        return save({"value": tensor.detach().contiguous().cpu()})
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a tensor that safetensors does not keep: {error}") from error


def _tensor(array: np.ndarray[Any, Any], name: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except TypeError as error:
        raise InputError(f"{name} is an array of {array.dtype}, which no file keeps.") from error

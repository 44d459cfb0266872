"""Addresses of files on the hub, as a browser shows them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from huggingface_hub import constants

from yggdrasil.core.errors import ModelError

__all__ = ["FileAddress", "address_of", "is_address", "read_address"]

_HOSTS = ("huggingface.co", "hf.co")
_VIEWS = ("blob", "resolve", "raw")


class FileAddress(NamedTuple):
    """A file on the hub.

    Attributes:
        model: The id of the model that it is in.
        revision: A branch, tag or commit.
        file: Its name, with its folders.
    """

    model: str
    revision: str
    file: str


def is_address(text: str) -> bool:
    """Says whether a text is the address of something on a network."""
    return text.startswith(("https://", "http://"))


def address_of(model: str, file: str, revision: str = "main") -> str:
    """Gives the address of a file."""
    return f"{constants.ENDPOINT}/{model}/blob/{quote(revision, safe='')}/{quote(file)}"


def read_address(text: str) -> FileAddress:
    """Reads an address.

    Args:
        text: ``https://huggingface.co/organisation/name/blob/main/file``, with ``resolve`` in the
            place of ``blob`` for the download itself; also at the hub of ``HF_ENDPOINT``.

    Raises:
        ModelError: It is of another host, or of no file.
    """
    parts = urlsplit(text)
    here = urlsplit(constants.ENDPOINT)
    if parts.netloc not in (*_HOSTS, here.netloc):
        raise ModelError(
            f"{text} is at {parts.netloc}, which is not the hub ({here.netloc}): nothing is "
            "fetched from elsewhere. Download the file and give its path."
        )
    match [unquote(part) for part in parts.path.strip("/").split("/")]:
        case [owner, name, view, revision, first, *rest] if view in _VIEWS:
            return FileAddress(f"{owner}/{name}", revision, "/".join([first, *rest]))
        case _:
            like = address_of("organisation/name", "model.safetensors")
            raise ModelError(
                f"{text} is no address of a file, such as {like}. A whole model is named "
                "'organisation/name'."
            )

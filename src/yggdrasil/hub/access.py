"""How the hub is asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["HubOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How the hub is asked for a model.

    Its address is in ``HF_ENDPOINT``; with ``HF_HUB_OFFLINE`` set the cache alone is read.

    Attributes:
        revision: A branch, tag or commit; the main branch if None.
        token: Of an account; the one that is logged in or in ``HF_TOKEN`` if None.
        cache_dir: The folder that files are kept in; that of ``HF_HUB_CACHE`` if None.
        local_files_only: Whether to read the cache alone.
    """

    revision: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False

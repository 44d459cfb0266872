"""Why the hub did not give files, in words that help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.registry import MODEL_REGISTRY

__all__ = ["FAILURES", "refused"]

# Of its transport, which is another library in each version.
_TRANSPORT = cast(type[Exception], HfHubHTTPError.__bases__[0])

FAILURES = (OSError, HFValidationError, _TRANSPORT)
"""What the hub's library raises."""

_LOG_IN = "give token=..., or log in with `hf auth login`"


def refused(
    error: BaseException,
    model: str,
    revision: str | None,
    names: Sequence[str],
    options: HubOptions,
) -> ModelError:
    """Makes the error for what the hub's library raised.

    Args:
        error: One of ``FAILURES``.
        model: The id that was asked for.
        revision: The revision that was asked for.
        names: The files that were asked for.
        options: How it was asked.
    """
    cause = error.__cause__
    if isinstance(error, LocalEntryNotFoundError) and isinstance(cause, HfHubHTTPError):
        error = cause  # it answered, and then the cache was looked into
    match error:
        case HFValidationError():
            text = (
                f"{model!r} is neither a folder here nor an id of the hub: {error} An id is "
                "'organisation/name'."
            )
        case GatedRepoError():
            text = _gated(error, model)
        case RepositoryNotFoundError():
            text = (
                f"{model!r} is no folder here, and {constants.ENDPOINT} has no such model, or it "
                f"is private. Check the name; for a private one {_LOG_IN}.{_near(model)}"
            )
        case RevisionNotFoundError():
            known = _revisions(model, options)
            near = nearest(str(revision), known)
            text = f"{model!r} has no revision {revision!r}.{near or ' Check its name.'}"
        case HfHubHTTPError():
            wants_account = error.response.status_code in (401, 403)
            mend = f"{_LOG_IN[:1].upper()}{_LOG_IN[1:]}" if wants_account else "Try again later"
            text = f"{constants.ENDPOINT} did not give {model!r}: {_first_line(error)}. {mend}."
        case LocalEntryNotFoundError() | OfflineModeIsEnabled():
            text = _not_cached(cause or error, model, revision, names, options)
        case OSError():
            text = f"The files of {model!r} could not be kept: {error}"
        case _:
            text = _not_cached(error, model, revision, names, options)
    return ModelError(text)


def _gated(error: HfHubHTTPError, model: str) -> str:
    page = f"{constants.ENDPOINT}/{model}"
    if error.response.status_code == 401:
        return (
            f"{model!r} is gated: its owner wants to know who uses it. Accept its terms at {page}, "
            f"then {_LOG_IN}."
        )
    return (
        f"{model!r} is gated, and your account has no access to it. Ask for it at {page}; if you "
        "have it, the token may lack the permission to read gated models."
    )


def _not_cached(
    cause: BaseException,
    model: str,
    revision: str | None,
    names: Sequence[str],
    options: HubOptions,
) -> str:
    if options.local_files_only:
        why, mend = "local_files_only=True reads the cache alone", "Call once without it"
    elif isinstance(cause, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        why, mend = "HF_HUB_OFFLINE is set", "Call once without it"
    else:
        why = f"{constants.ENDPOINT} cannot be reached ({_first_line(cause)})"
        mend = "Check the network and HF_ENDPOINT"
    at = "" if revision is None else f" at {revision}"
    return (
        f"{model!r} is no folder here, {why}, and the cache in "
        f"{options.cache_dir or constants.HF_HUB_CACHE} lacks {', '.join(names)} of it{at}. {mend}."
        f"{_near(model)}"
    )


def _near(model: str) -> str:
    """Says which registered ids are like one, unless it is registered itself."""
    ids = MODEL_REGISTRY.ids()
    return "" if model in ids else nearest(model, ids, list_others=False)


def _revisions(model: str, options: HubOptions) -> list[str]:
    """Gives the names of a model's branches and tags, or none where the hub does not tell."""
    try:
        refs = HfApi(token=options.token).list_repo_refs(model)
    except FAILURES:
        return []  # the message does without them
    return [each.name for each in (*refs.branches, *refs.tags)]


def _first_line(error: BaseException) -> str:
    """Gives the first words of a message; the libraries' go on over many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__

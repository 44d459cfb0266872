"""The registry of models: from ids and patterns to templates and configurations."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.model_entries import ModelEntry, read_entries

__all__ = ["MODEL_REGISTRY", "ModelRegistry"]


class ModelRegistry(Mapping[str, ModelEntry]):
    """What is known of models by their ids: a mapping of ids and patterns to entries.

    Its files, one a family, are read on first use. It is asked after ``model_index.json``, which
    says what a model is; for what that does not tell (parts, models that are not on this machine)
    it is the only source.
    """

    @functools.cached_property
    def entries(self) -> tuple[ModelEntry, ...]:
        """All entries, in the order of the files."""
        return read_entries()

    @functools.cached_property
    def _by_id(self) -> Mapping[str, ModelEntry]:
        return MappingProxyType({name: each for each in self.entries for name in each.ids})

    def __getitem__(self, name: str) -> ModelEntry:
        """Gives the entry of an id or a pattern as it is written in the registry."""
        return self._by_id[name]

    def __iter__(self) -> Iterator[str]:
        """Gives the ids and patterns."""
        return iter(self._by_id)

    def __len__(self) -> int:
        """Counts them."""
        return len(self._by_id)

    def ids(self) -> list[str]:
        """Gives the ids, without the patterns."""
        return [name for name in self._by_id if not set(name) & set("*?")]

    def find(self, model: str) -> ModelEntry | None:
        """Gives the entry that an id belongs to: its own before that of a pattern.

        Args:
            model: A hub id, if need be with ``@revision``.
        """
        name = model.partition("@")[0]
        if name in self._by_id:
            return self._by_id[name]
        matching = (key for key in self._by_id if fnmatch.fnmatchcase(name.lower(), key.lower()))
        found = next(matching, None)  # also another case of an id: the hub takes any
        return None if found is None else self._by_id[found]

    def resolve(self, model: str) -> ModelEntry:
        """Gives the entry that an id belongs to.

        Args:
            model: A hub id, if need be with ``@revision``.

        Raises:
            ModelError: None does; with the nearest ids.
        """
        found = self.find(model)
        if found is None:
            near = nearest(model, self.ids())
            raise ModelError(
                f"The registry has no model {model!r}, and no pattern that it fits.{near} Give the "
                "model's folder, or let its model_index.json be asked for: from_pretrained reads "
                "the family there."
            )
        return found


MODEL_REGISTRY = ModelRegistry()
"""The registry."""

"""Tokenizers of models that come without one: their vocabulary is fetched from another model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from yggdrasil.core.component import Component
from yggdrasil.core.errors import ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.integrity import check_vocabulary
from yggdrasil.hub.loading import LOADING, REFUSALS, told
from yggdrasil.hub.named_code import refuse_code_in_folder
from yggdrasil.hub.snapshot import Snapshot, open_snapshot

__all__ = ["VocabularySource"]

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True, eq=False)
class VocabularySource:
    """A tokenizer whose vocabulary lies in a model on the hub, or in the cache.

    Attributes:
        model: The id.
        settings: Of the tokenizer, in the place of that model's.
        wanted_by: The model that the tokenizer is for, for messages.
        options: How the hub is asked.
        loaded: The tokenizer, once it was loaded, by class.
    """

    model: str
    settings: Mapping[str, Any]
    wanted_by: str
    options: HubOptions
    loaded: dict[type, object] = field(default_factory=dict, repr=False)

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Loads the tokenizer, or gives the one loaded before.

        Raises:
            ModelError: The vocabulary cannot be had, or is none.
        """
        with LOADING:
            if slot.cls not in self.loaded:
                self.loaded[slot.cls] = self._load(slot)
            return self.loaded[slot.cls]

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the settings."""
        return self.settings

    def check(self, slot: Component[Any]) -> None:
        """Fetches the vocabulary, unless the cache holds it.

        Raises:
            ModelError: It cannot be had.
        """
        self._fetch(slot)

    def describe(self) -> Mapping[str, Any]:
        """Gives the model that has the vocabulary, and the settings."""
        return {"vocabulary": self.model, **self.settings}

    def _fetch(self, slot: Component[Any]) -> Snapshot:
        # The parts, as the families' models in Diffusers' layout have them, not the newer whole.
        parts = {
            what: n for what, n in slot.cls.vocab_files_names.items() if what != "tokenizer_file"
        }
        first, *others = parts.values()
        try:
            snapshot = open_snapshot(
                self.model, first, also=(*others, *_SETTINGS), options=self.options
            )
            refuse_code_in_folder(snapshot.root)
            check_vocabulary(snapshot.root, parts)
        except ModelError as error:
            raise ModelError(
                f"{self.wanted_by} holds no tokenizer, and the vocabulary of its family cannot be "
                f"had: {error} Or give config=..., a folder or hub id of a whole model of the same "
                "family."
            ) from error
        return snapshot

    def _load(self, slot: Component[Any]) -> object:
        folder = self._fetch(slot).root
        try:
            return slot.cls.from_pretrained(folder, local_files_only=True, **self.settings)
        except (*REFUSALS, OSError) as error:
            raise ModelError(
                f"{folder} cannot be loaded as {slot.cls.__name__}: {told(error)}"
            ) from error

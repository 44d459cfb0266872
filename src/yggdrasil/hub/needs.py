"""Which files of a model a component is loaded from, told by their names alone."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from yggdrasil.hub.weights import choose_weights, stem_of

__all__ = ["component_files"]

# A tokenizer's vocabulary and its template for chats are in files of their own, which all others
# are small enough to come with.
_TEXTS = (".json", ".txt", ".model", ".jinja")


def component_files(
    names: Collection[str], cls: type, variant: str | None, where: str, advice: str
) -> list[str]:
    """Chooses the files that a component is loaded from.

    Args:
        names: Of the files in the component's folder.
        cls: The component's class.
        variant: Of the weights; the plain ones if None.
        where: The folder, for messages.
        advice: What to do where there are no weights, for messages.

    Raises:
        ModelError: There are no weights in safetensors, or only those of other variants.
    """
    if not issubclass(cls, nn.Module):
        return sorted(name for name in names if name.endswith(_TEXTS))
    tensors, indexes = choose_weights(names, variant, where, advice, stem=stem_of(cls))
    return ["config.json", *indexes, *tensors]

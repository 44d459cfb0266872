"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["zoo_models"]

_ZOO = Path(__file__).parent.parent / "zoo"


def zoo_models() -> dict[str, Path]:
    """Gives the folders of the models that come with the package, by name (``zoo/shapes``)."""
    indexes = sorted(_ZOO.glob("*/model_index.json"))
    return {f"zoo/{path.parent.name}": path.parent for path in indexes}

"""Drawings of wired graphs."""

from yggdrasil.core.drawing.front import draw

__all__ = ["draw"]

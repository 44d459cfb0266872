"""Diffusers pipelines without a template in miniature: random weights, made in a moment."""

from __future__ import annotations

from tests.tiny_whole import images, old, parts, videos
from tests.tiny_whole.parts import MADE, call_of, tiny_ddpm, tiny_whole

__all__ = ["MADE", "call_of", "images", "old", "parts", "tiny_ddpm", "tiny_whole", "videos"]

"""Processors: work on pictures, masks and latents that needs no weights."""

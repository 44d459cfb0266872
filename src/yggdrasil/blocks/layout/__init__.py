"""Layouts: the shapes of latents."""

"""Comparisons with Diffusers in the same process, on the same modules."""

"""Measurements against Diffusers, run by ``make bench``."""

"""Timesteps: which of them training visits."""

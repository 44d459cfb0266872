"""Backbones: the networks that predict."""

"""Solvers: the update rules that turn noise into a sample.

One class drives every scheduler of Diffusers, so the names are registered from a table.
"""

from yggdrasil.blocks.solver import catalog

__all__ = ["catalog"]

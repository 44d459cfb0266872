"""Families as data: one YAML file each, read by ``yggdrasil.core.templates``."""

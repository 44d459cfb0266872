"""Adapters: changes to the weights of other blocks."""

"""Graphs with their inputs, as files and inside the pictures that they made."""

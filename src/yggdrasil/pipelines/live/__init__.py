"""Watching a run while it goes on, and ending it early."""

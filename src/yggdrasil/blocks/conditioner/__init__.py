"""Conditioners: what the picture is to be like."""

"""Guidance: which evaluations a step needs, and how their answers make one."""

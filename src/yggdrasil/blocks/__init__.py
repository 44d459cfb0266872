"""The concrete blocks, one package for each role and one file for each block."""

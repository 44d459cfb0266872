"""The engine: kinds, blocks, graphs, wiring, plans and their execution."""

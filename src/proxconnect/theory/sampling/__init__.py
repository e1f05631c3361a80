"""Sampling of quantizers that declare nothing: evaluation, grids, refinement around jumps and bends."""

"""Magnets: classical spins on lattices, textures, and examples."""

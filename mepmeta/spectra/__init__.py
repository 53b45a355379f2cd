"""Spectra: the Hessian of an energy, its factors and its lowest modes."""

"""Rates: how long a state lives, by theory and by simulation."""

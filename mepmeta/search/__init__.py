"""Searches: minima, saddles and minimum energy paths, each checked."""

"""Files of other codes: magnets of TB2J, UppASD, Spirit and Vampire, and states in OVF 2.0."""

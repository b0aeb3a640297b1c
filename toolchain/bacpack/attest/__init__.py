"""Statements about releases: what was made of what, by whom, and signatures under them."""

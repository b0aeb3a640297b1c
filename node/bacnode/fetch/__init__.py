"""Fetching from sources on the network, and what is known of how each of them answers."""

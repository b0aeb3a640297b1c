"""Modules of earlier splits: finding them, and fitting blobs to them."""

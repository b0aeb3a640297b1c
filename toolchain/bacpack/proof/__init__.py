"""Proof that a split is right: its output is linked again and compared with the blob, whatever code wrote it."""

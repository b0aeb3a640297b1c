"""Proof that a split program behaves as its blob did: both are run on the same inputs and compared."""

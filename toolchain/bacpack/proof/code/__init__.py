"""Code and modules as the proof reads them; knows nothing of how a split is made."""

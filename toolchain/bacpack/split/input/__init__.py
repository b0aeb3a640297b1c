"""Which blobs are refused, and what of them is dropped."""

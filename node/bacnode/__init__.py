"""The node: resolves imports by CID, runs programs, and reports where each module came from."""

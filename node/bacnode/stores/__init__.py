"""The blocks of a node, those that only its jobs may use, and reading them quickly."""

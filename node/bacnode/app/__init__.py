"""All that a node answers, and serving it; several nodes on one machine."""

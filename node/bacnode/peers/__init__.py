"""Peers of a node: who they are, how near they are, and having a block from the nearest that has it."""

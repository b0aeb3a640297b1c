"""Blocks that link to others."""

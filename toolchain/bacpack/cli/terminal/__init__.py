"""Stdout, stderr, progress, tables and pictures."""

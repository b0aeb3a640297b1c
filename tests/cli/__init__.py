"""Tests of commands as a person meets them: the real command, its output, its exit status."""

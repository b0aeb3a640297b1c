"""Tests of the node: the resolver, the sources, the runtime."""

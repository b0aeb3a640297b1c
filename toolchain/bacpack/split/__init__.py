"""Splitting: one package a stage, in the order data flows; `pipeline` calls them in turn."""

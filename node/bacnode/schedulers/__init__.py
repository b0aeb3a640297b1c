"""Sending jobs to where their modules are: what a job needs, told to schedulers that exist."""

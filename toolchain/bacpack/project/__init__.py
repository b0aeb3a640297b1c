"""What belongs to a project: its configuration in `bacpack.toml`."""

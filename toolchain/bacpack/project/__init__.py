"""Projects: from what `bacpack.toml` says to a release."""

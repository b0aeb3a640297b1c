"""`bacpack.toml`, `bacpack.lock` and budgets."""

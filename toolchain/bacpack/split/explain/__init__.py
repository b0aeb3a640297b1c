"""Where the bytes went, and why."""

"""Writing the bytes of modules and remainders."""

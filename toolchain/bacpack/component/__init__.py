"""Components, and core modules of one exchanged for others."""

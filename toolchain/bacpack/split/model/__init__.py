"""What goes into a split and comes out, its objective, and groups."""

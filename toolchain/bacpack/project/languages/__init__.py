"""What builds the sources of a project."""

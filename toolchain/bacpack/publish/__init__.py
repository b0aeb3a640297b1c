"""Publishing: making a release of programs and modules, and bringing it to where it is kept."""

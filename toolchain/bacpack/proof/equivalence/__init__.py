"""A blob against its split, a component, a folder."""

"""From a reference to the graph of all modules that a program needs."""

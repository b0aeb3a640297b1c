"""The block store: pins, origins, garbage collection, audit."""

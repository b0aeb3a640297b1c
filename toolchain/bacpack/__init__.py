"""bacpack: split linked WebAssembly programs into modules they share, named by content identifier (CID)."""

__version__ = "0.1.0"

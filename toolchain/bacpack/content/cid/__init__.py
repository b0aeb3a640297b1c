"""CIDs, blocks, and what people and imports write to name them."""

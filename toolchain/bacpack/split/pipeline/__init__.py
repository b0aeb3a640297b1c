"""The steps from blobs to a folder, with components and the proof."""

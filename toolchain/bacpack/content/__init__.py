"""Content addressing: CIDs, UnixFS, CAR files, the block store and its pins."""

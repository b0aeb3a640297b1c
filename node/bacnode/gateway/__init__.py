"""`/ipfs/…`: content as blocks and CARs."""

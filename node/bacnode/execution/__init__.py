"""Running jobs: what becomes of one, and the processes that prepare and run them; for the node and for Dask alike."""

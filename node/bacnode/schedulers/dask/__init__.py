"""Jobs by Dask: modules as keys, jobs as tasks that depend on them."""

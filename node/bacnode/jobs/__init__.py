"""All jobs of a node: taken in over HTTP, kept in a database, and run by the processes of `bacnode.execution`."""

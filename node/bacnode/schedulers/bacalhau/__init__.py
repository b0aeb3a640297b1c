"""Jobs by Bacalhau: its jobs, and its REST API."""

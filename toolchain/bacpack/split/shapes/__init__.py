"""What functions look like once all that differs per blob is taken out."""

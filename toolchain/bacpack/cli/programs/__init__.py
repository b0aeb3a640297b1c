"""Commands about programs: one file each."""

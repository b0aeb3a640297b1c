"""What initial memories have in common."""

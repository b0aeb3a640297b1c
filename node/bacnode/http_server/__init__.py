"""What every request passes: limits, names, tokens, errors, logs."""

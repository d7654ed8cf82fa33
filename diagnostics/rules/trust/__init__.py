"""Rules about how far the measurement itself can be trusted (`TR`)."""

"""Rules about waiting for data (`DL`)."""

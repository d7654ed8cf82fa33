"""The network: pure PyTorch, no timing, no recording."""

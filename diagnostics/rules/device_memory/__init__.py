"""Rules about the memory of the GPU (`GM`)."""

"""Rules about how busy the GPU is (`GP`)."""

"""VRT-Spike: the reference trainer and its recorder."""

"""Rules about the configuration as a whole (`CF`)."""

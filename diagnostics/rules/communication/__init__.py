"""Rules about what the ranks of a run exchange and wait for (`CM`)."""

"""Reads what a training run left behind and says where time and memory went."""

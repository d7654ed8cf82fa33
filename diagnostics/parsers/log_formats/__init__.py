"""The formats of text logs: one file for each family of trainers, one line for each in `registry`."""

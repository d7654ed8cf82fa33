"""The formats of text logs: a file for each family of trainers, a line for each in `registry`."""

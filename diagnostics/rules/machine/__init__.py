"""Findings about a machine and a forecast, for runs that have not begun or are under way."""

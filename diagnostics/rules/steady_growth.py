"""How much a memory that grows step by step comes to: what limits of growth are held against."""

LEAST_STEPS = 1000
"""A shorter run is judged by what its growth makes over so many."""
AHEAD = "growth over 1,000 steps, or over the run"


def growth_ahead_bytes(bytes_per_step: float, num_steps: int) -> float:
    """Over the steps that were followed, or over 1,000 where those were fewer."""
    return bytes_per_step * max(LEAST_STEPS, num_steps)

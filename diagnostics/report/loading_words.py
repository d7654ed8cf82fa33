"""What the parts of loading a sample are called in a report."""

_LABELS = {"read": "read files"}
"""A bare "read" is what becomes of an input of a report."""


def part_label(name: str) -> str:
    """The name of a part for people."""
    return _LABELS.get(name, name)

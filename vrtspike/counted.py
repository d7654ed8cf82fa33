"""A noun behind its count: 1 step, 2 steps."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """The count with its noun; `plural` where it takes more than an `s`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def counted_with_verb(count: int, noun: str, one: str = "is", several: str = "are") -> str:
    """The same with the verb that follows it: 1 step is, 2 steps are."""
    return f"{counted(count, noun)} {one if count == 1 else several}"

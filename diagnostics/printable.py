"""Text that came from a file, made safe for one line of a terminal."""


def printable(text: str, limit: int = 400) -> str:
    r"""`text` on one line: control, bidirectional and undecodable characters as escapes.

    A run's name or a path can hold anything; `\x1b[2J` would otherwise clear the reader's screen.
    Text longer than `limit` characters is cut in the middle.
    """
    if len(text) > limit:
        half = (limit - 5) // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return "".join(
        character if character.isprintable() else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

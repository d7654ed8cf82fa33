"""The one family of errors a user of the trainer can meet."""

_LIMIT = 2000


def printable(text: str) -> str:
    """One line that any stream can write, whatever a file's name holds."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


class VRTSpikeError(Exception):
    """A mistake or fault that the user can act on; printed as one line, exit code 2."""

    def __str__(self) -> str:
        r"""One line of at most 2000 characters, cut in the middle.

        A key, a path or another library's message in it can hold anything: control characters
        become escapes, since a raw `\x1b[2J` would clear the reader's screen.
        """
        text = super().__str__().strip()
        if len(text) > _LIMIT:
            text = f"{text[: _LIMIT // 2]} ... {text[-_LIMIT // 2 + 5 :]}"
        return printable(text)


class ConfigError(VRTSpikeError):
    """The configuration is wrong; the message names file, line, dotted path and what is valid."""


class DataError(VRTSpikeError):
    """A data file or folder is missing or broken; the message names it."""


class ModelError(VRTSpikeError):
    """The model cannot be built, loaded or run as asked."""


class CheckpointError(VRTSpikeError):
    """A checkpoint is missing, broken or does not fit the model."""


class RecorderUsageError(VRTSpikeError):
    """The recorder was called in a way or an order that means nothing; says what to do instead."""

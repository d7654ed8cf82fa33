"""The one family of errors a user of the tools can meet."""


class DiagnosticsError(Exception):
    """An input could not be used; printed as one line, with the exit code beside it."""

    exit_code = 2

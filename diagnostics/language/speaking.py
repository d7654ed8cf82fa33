"""The language that is spoken now; English unless a tool says otherwise.

It is a context variable, since every renderer and every error needs it and none decides it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from diagnostics.language.catalogue import Catalogue, read_catalogue
from diagnostics.language.choice import ENGLISH

_SPOKEN: ContextVar[Catalogue | None] = ContextVar("spoken", default=None)


@contextmanager
def speaking(wanted: str) -> Iterator[None]:
    """Speak a language, one of `LANGUAGES`, inside the block."""
    token = _SPOKEN.set(None if wanted == ENGLISH else _catalogue(wanted))
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def language() -> str:
    """The code of the language that is spoken now, such as `en`: fit for the `lang` of HTML."""
    catalogue = _SPOKEN.get()
    return ENGLISH if catalogue is None else catalogue.language


def spoken(text: str) -> str:
    """The text as the reader is to see it: plain, in the language spoken now.

    Text from a file passes unchanged, unless it happens to be a constant of the product.
    """
    catalogue = _SPOKEN.get()
    return str.__str__(text) if catalogue is None else catalogue.say(text)


@cache
def _catalogue(wanted: str) -> Catalogue:
    return read_catalogue(wanted)

"""What a person reads, in the reader's language: texts are made in English and said at the edge.

`say` makes a text with values in it, `listed` joins some; a text without values is a plain string.
Renderers alone ask for the reader's language, by `spoken`. Identifiers (codes of rules, keys of
JSON and of configurations, commands) have no translation and stay as they are.
"""

from diagnostics.language.choice import ENGLISH, LANGUAGES, chosen_language
from diagnostics.language.pages import blocks_of, mark_of, spoken_page
from diagnostics.language.sentence import Listing, Sentence, listed, say
from diagnostics.language.speaking import language, speaking, spoken

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Listing",
    "Sentence",
    "blocks_of",
    "chosen_language",
    "language",
    "listed",
    "mark_of",
    "say",
    "speaking",
    "spoken",
    "spoken_page",
]

"""Which language the reader wants: `--lang`, else the locale, else English."""

from collections.abc import Mapping, Sequence

LANGUAGES = ("en", "zh")
ENGLISH = "en"
OPTION = "--lang"
_LOCALE_NAMES = ("LC_ALL", "LC_MESSAGES", "LANG")
_SAMPLES = {"zh": "中文，"}


def chosen_language(
    arguments: Sequence[str], environ: Mapping[str, str], encoding: str | None
) -> str:
    """The language of everything a tool prints, its errors and its `--help` included.

    It must be known before the arguments are parsed, since that can fail. The locale counts only
    where `encoding`, that of the output, has the language's letters; `--lang` counts anyway.
    """
    asked = _asked_for(arguments)
    if asked in LANGUAGES:
        return asked
    wanted = _of_locale(environ)
    return wanted if _can_write(wanted, encoding) else ENGLISH


def _asked_for(arguments: Sequence[str]) -> str:
    """The last `--lang` counts, as it does for the parser; what it does not know it will refuse."""
    asked = ""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == OPTION:
            asked = "".join(arguments[place + 1 : place + 2])
        elif argument.startswith(f"{OPTION}="):
            asked = argument.removeprefix(f"{OPTION}=")
    return asked


def _of_locale(environ: Mapping[str, str]) -> str:
    """The first of the variables that is set decides, such as `zh_CN.UTF-8`."""
    locale = next((environ[name] for name in _LOCALE_NAMES if environ.get(name)), "")
    code = locale.replace("-", "_").split("_")[0].split(".")[0].lower()
    return code if code in LANGUAGES else ENGLISH


def _can_write(language: str, encoding: str | None) -> bool:
    try:
        _SAMPLES.get(language, "").encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

"""Text for a terminal whose lines may break between wide letters."""

from rich.console import Console, JustifyMethod, OverflowMethod
from rich.containers import Lines
from rich.text import Text

from diagnostics.language.line_breaks import breaks_of, has_wide_letters


class WideText(Text):
    """Text whose lines may break between wide letters, but not before a closing mark."""

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """Text without wide letters wraps as ever."""
        if no_wrap or self.no_wrap or not has_wide_letters(self.plain):
            return super().wrap(
                console,
                width,
                justify=justify,
                overflow=overflow,
                tab_size=tab_size,
                no_wrap=no_wrap,
            )
        lines = Lines()
        for whole in self.split(allow_blank=True):
            lines.extend(whole.divide(list(breaks_of(whole.plain, width))))
        for line in lines:
            line.rstrip()
        if justify or self.justify:
            lines.justify(console, width, justify=justify or self.justify or "left")
        return lines

"""Every family of text logs, once. A new one is a file of its own and one line here."""

from diagnostics.parsers.log_formats import original_settings, original_times, vrt_spike

FORMATS = (
    *vrt_spike.FORMATS,
    *original_times.FORMATS,
    *original_settings.FORMATS,
)
"""In the order of trial: what stands in most lines first, special markers before general ones."""

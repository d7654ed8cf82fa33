"""Watches the training that runs: reads, keeps, shows, until it ends or Ctrl-C."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TextIO

from diagnostics.analyses.watch_course import WatchCourse, WatchView
from diagnostics.command_line import STDOUT
from diagnostics.language import spoken
from diagnostics.load import load_run
from diagnostics.parsers.running_runs import pid_if_running
from diagnostics.report.watch_terminal import LiveScreen, PlainScreen, Screen
from diagnostics.report.watch_words import over_text
from diagnostics.watch_reading import WatchReader


def watch_if_asked(options: argparse.Namespace) -> WatchView | None:
    """Watches until the training ends or somebody presses Ctrl-C; what was seen.

    Of a training that has ended no process is left to show: its number goes from the options. None
    where nobody asked, or where the run that was named is over: a line says so.

    Raises:
        DiagnosticsError: there is nothing to watch.
    """
    if not options.watch:
        return None
    pid = options.pid
    if pid is None and options.paths:
        info = load_run(options.paths).info
        pid = pid_if_running(info)
        if pid is None:
            print(spoken(over_text(info.status, str(options.paths[0]))), file=_stream(options))
            return None
    reader = WatchReader(pid, options.profiles_dir)
    try:
        view = follow(reader, _screen(options), options.interval)
    finally:
        reader.close()
    options.pid = None if view.has_ended else options.pid
    return view


def follow(
    reader: WatchReader,
    screen: Screen,
    interval_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> WatchView:
    """Reads on an even grid, so that a slow reading shifts no later one.

    Args:
        reader: What is read; its first moment has a process.
        screen: Where it is shown.
        interval_s: Seconds between two readings.
        sleep: Waits so many seconds; Ctrl-C interrupts it.
    """
    course = WatchCourse(subject=reader.subject)
    moment = reader.read()
    course.add(moment)
    begun_s = moment.at_s
    view = course.view()
    try:
        with screen:
            while True:
                screen.show(view)
                done_s = reader.steady_s() - begun_s
                sleep((done_s // interval_s + 1) * interval_s - done_s)
                moment = reader.read()
                if not moment.processes:
                    return replace(view, has_ended=True)
                course.add(moment)
                view = course.view()
    except KeyboardInterrupt:
        return view


def _screen(options: argparse.Namespace) -> Screen:
    """In place on a terminal; where JSON goes to standard output, beside it."""
    stream = _stream(options)
    if stream.isatty():
        return LiveScreen(stream, options.width, False if options.no_color else None)
    return PlainScreen(lambda text: print(text, file=stream, flush=True))


def _stream(options: argparse.Namespace) -> TextIO:
    return sys.stderr if options.json == STDOUT else sys.stdout

"""The plug-in that TensorBoard loads: a list of runs, and for each the page of its report.

TensorBoard imports and constructs it when it starts, so nothing is read or searched until then.
"""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tensorboard.backend import http_util  # type: ignore[import-untyped]
from tensorboard.plugins import base_plugin  # type: ignore[import-untyped]
from werkzeug import wrappers

from diagnostics.errors import DiagnosticsError
from diagnostics.language import ENGLISH, LANGUAGES, language, say, speaking, spoken
from diagnostics.printable import printable
from diagnostics.tensorboard_plugin.reports import Reports, make_report_page
from diagnostics.tensorboard_plugin.run_folders import RunFolder, find_runs, has_run

MODULE = "/index.js"
App = Callable[..., Any]


class DiagnosisPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """The tab "Diagnosis"."""

    plugin_name = "diagnosis"

    def __init__(self, context: base_plugin.TBContext) -> None:
        """Keep where the runs are; TensorBoard may have been given no single folder."""
        self._logdir = Path(context.logdir) if context.logdir else None
        self._reports = Reports(make_report_page)

    def is_active(self) -> bool:
        """Whether there is a run to show; asked for often, so no file is opened."""
        return self._logdir is not None and has_run(self._logdir)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and the module that draws it."""
        return base_plugin.FrontendMetadata(
            es_module_path=MODULE, tab_name="Diagnosis", disable_reload=False
        )

    def get_plugin_apps(self) -> Mapping[str, App]:
        """What this plug-in serves, by path."""
        served = {MODULE: self._module, "/runs": self._runs, "/report": self._report}
        return {path: wrappers.Request.application(answer) for path, answer in served.items()}

    def _module(self, request: wrappers.Request) -> wrappers.Response:
        script = files(__package__).joinpath("static", "index.js").read_bytes()
        return _respond(request, script, "text/javascript")

    def _runs(self, request: wrappers.Request) -> wrappers.Response:
        names = [run.name for run in self._found()]
        return _respond(request, {"runs": names}, "application/json")

    def _report(self, request: wrappers.Request) -> wrappers.Response:
        wanted = request.args.get("lang", ENGLISH)
        with speaking(wanted if wanted in LANGUAGES else ENGLISH):
            return self._report_in_language(request)

    def _report_in_language(self, request: wrappers.Request) -> wrappers.Response:
        wanted = request.args.get("run", "")
        run = next((each for each in self._found() if each.name == wanted), None)
        if run is None:
            line = say("there is no run {name} here (any more)", name=printable(wanted, limit=200))
            return _respond(request, spoken(line), "text/plain", code=404)
        try:
            page = self._reports.page(run, language())
        except DiagnosticsError as error:
            reason = printable(spoken(str(error)), limit=2000)
            return _respond(request, reason, "text/plain", code=422)
        return _respond(request, page, "text/html")

    def _found(self) -> tuple[RunFolder, ...]:
        return () if self._logdir is None else find_runs(self._logdir)


def _respond(
    request: wrappers.Request, content: Any, content_type: str, code: int = 200
) -> wrappers.Response:
    from diagnostics.report.html_page import script_digest

    digests = [script_digest()] if content_type == "text/html" else None
    response: wrappers.Response = http_util.Respond(
        request, content, content_type, code=code, csp_scripts_sha256s=digests
    )
    return response

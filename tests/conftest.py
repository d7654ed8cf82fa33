"""What the tests of both tools share: a tool run from outside, in an empty folder."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from diagnostics.command_line import run_tool

ROOT = Path(__file__).resolve().parent.parent
os.environ["LC_ALL"] = "C.UTF-8"  # the tools speak English, whoever runs the tests
# A busy machine makes examples slowly; that says nothing about the code.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


@pytest.fixture
def new_tool(capsys, monkeypatch, tmp_path):
    """A function that makes one to run a script: exit code, stdout and stderr."""

    def new(script):
        spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.chdir(tmp_path)

        def run(*arguments):
            monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
            try:
                code = run_tool(script, module.main)
            except SystemExit as end:
                code = end.code
            captured = capsys.readouterr()
            return int(code or 0), captured.out, captured.err

        return run

    return new

"""The one file of limits: whole, used, and the same as what the forecast was worked out with."""

from typing import ClassVar

import pytest

from diagnostics.analyses.memory_checks import CACHE_MAX_RAM_SHARE
from diagnostics.analyses.memory_forecast import TIGHT_SHARE
from diagnostics.rules.catalogue import DOCUMENTED
from diagnostics.rules.rule import Rule
from diagnostics.rules.thresholds import (
    FILE,
    Threshold,
    limits_of,
    read_thresholds,
    thresholds_version,
)


def test_every_limit_of_the_file_belongs_to_a_rule_or_a_pattern():
    used = {rule.code: rule.thresholds() for rule in DOCUMENTED}
    assert {code: dict(named) for code, named in read_thresholds().items()} == used


def test_limits_stand_in_the_order_of_their_codes():
    codes = list(read_thresholds())
    assert codes == sorted(codes)


def test_a_limit_that_the_file_lacks_is_an_error_when_the_rule_is_defined():
    with pytest.raises(KeyError, match="at_sea"):

        class Unlisted(Rule):
            code = "DL001"
            at_sea: ClassVar[Threshold]

            def check(self, measured):
                return None


def test_an_unknown_rule_has_no_limits():
    assert limits_of("XX999") == {}


@pytest.mark.parametrize("field", ["value", "unit", "reason", "source"])
def test_a_limit_needs_all_of_its_fields(tmp_path, field):
    text = '[XX001.at_warn]\nvalue = 1\nunit = "ms"\nreason = "so"\nsource = "own choice"\n'
    lines = [line for line in text.splitlines() if not line.startswith(field)]
    file = tmp_path / "limits.toml"
    file.write_text("version = 3\n" + "\n".join(lines), "utf-8")
    assert thresholds_version(file) == 3
    with pytest.raises(TypeError, match=field):
        read_thresholds(file)


def test_the_forecast_and_its_findings_use_the_same_limits():
    assert limits_of("CF101")["most_of_memory"].value == CACHE_MAX_RAM_SHARE
    assert {limits_of(code)["tight"].value for code in ("HM104", "HM105", "GM101")} == {TIGHT_SHARE}


def test_the_file_lies_beside_the_rules_and_is_packaged():
    assert FILE.exists()
    assert isinstance(thresholds_version(), int)

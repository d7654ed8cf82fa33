"""The declared tables: what they refuse, and that their page is current."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.table_type import Column, Table, render_markdown
from diagnostics.tables import ALL_TABLES, PHASES

TABLE = Table(
    "made",
    "For a test.",
    (
        Column("step", "int", "-", "A step."),
        Column("ms", "float", "ms", "A time.", True),
        Column("name", "category", "-", "A name."),
    ),
)


def test_page_of_tables_is_current():
    page = Path(__file__).parents[2] / "docs" / "tables.md"
    assert page.read_text(encoding="utf-8") == render_markdown(ALL_TABLES), (
        "run: python -m diagnostics.tables > docs/tables.md"
    )


def test_every_number_has_a_unit_and_every_column_a_sentence():
    for table in ALL_TABLES:
        for column in table.columns:
            assert column.unit, (table.name, column.name)
            assert column.sentence.endswith("."), (table.name, column.name)


def test_missing_is_nan_and_never_zero():
    frame = TABLE.from_rows([(1, None, "a"), (2, 3.0, "b")])
    assert np.isnan(frame["ms"][0])
    assert frame["ms"].sum() == 3.0


def test_empty_table_has_the_declared_dtypes():
    for table in ALL_TABLES:
        table.validate(table.empty())


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"step": [1], "ms": [1.0]}), "must have the columns"),
        (TABLE.from_rows([(1, 1.0, "a")]).assign(step=[1.0]), "column step must be int"),
        (TABLE.from_rows([(1, 1.0, "a")]).assign(name=["a"]), "column name must be category"),
        (
            TABLE.from_rows([(1, 1.0, "a")]).assign(name=pd.Categorical([None], ["a"])),
            "column name misses a value",
        ),
    ],
)
def test_a_frame_that_is_not_as_declared_is_refused(frame, said):
    with pytest.raises(DiagnosticsError, match=said):
        TABLE.validate(frame)


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(DiagnosticsError, match="column step"):
        TABLE.from_rows([("x", 1.0, "a")])
    with pytest.raises(DiagnosticsError, match="has no column"):
        TABLE.from_records([{"step": 1, "nme": "a"}])


def test_parts_of_different_categories_join():
    joined = TABLE.concat([TABLE.from_rows([(1, 1.0, "a")]), TABLE.from_rows([(2, 2.0, "b")])])
    assert list(joined["name"]) == ["a", "b"]
    assert str(joined["name"].dtype) == "category"


def test_a_column_not_given_is_missing_throughout():
    frame = TABLE.from_columns(step=[1, 2], name=["a", "b"])
    assert frame["ms"].isna().all()
    with pytest.raises(DiagnosticsError, match="column num_steps"):
        PHASES.from_columns(rank=[0], step=[1])

"""docs/rules/ is what the rules say, no more and no less."""

from pathlib import Path

from diagnostics.rules.catalogue import DOCUMENTED
from diagnostics.rules.write_docs import main, pages

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "rules"


def test_the_folder_is_current():
    found = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert found == pages(), "run: python -m diagnostics.rules.write_docs"


def test_pages_of_rules_that_are_gone_are_removed(tmp_path: Path):
    (tmp_path / "XX001-gone.md").write_text("old")
    assert main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(pages())


def test_the_index_names_every_rule():
    index = pages()["README.md"]
    assert all(rule.code in index and rule.name in index for rule in DOCUMENTED)

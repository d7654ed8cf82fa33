"""What the tools print in Chinese: complete, aligned, and the same for programs."""

import html
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from diagnostics.language import speaking, spoken
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_texts import TEXT_KEYS
from diagnostics.report.markdown import to_markdown
from diagnostics.rules.catalogue import DOCUMENTED, find_rule
from diagnostics.rules.finding import Finding, NotEvaluated
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.write_docs import page
from tests.diagnostics.rules.test_rule_cases import read_cases
from tests.diagnostics.trace_factory import starved_steps, write_trace

ROOT = Path(__file__).resolve().parents[3]
DEMO = next((ROOT / "tests/data/demo_run/profiles").glob("train_*"))
_QUOTED = re.compile(r"CUDA out of memory|`[^`]*`|\[[^\]]*\]|<[^>]*>|\S*[/._=]\S*|--\w\S*")
_ENGLISH = re.compile(r"(?:\b[a-z]{2,}[,;:]? ){2,}[a-z]{2,}\b")


def english_in(text: str) -> list[str]:
    """Runs of three English words outside of commands, names and paths."""
    return _ENGLISH.findall(_QUOTED.sub("", text))


def test_english_is_found() -> None:
    assert english_in("最慢：the step waits for data")
    assert not english_in("用 `python -m some thing else here` 检查 a/b/c")


@pytest.mark.parametrize(("code", "given", "case"), list(read_cases()))
def test_what_a_rule_says_is_all_translated(code, given, case) -> None:
    outcome = find_rule(code).check(Measurements(**given))
    with speaking("zh"):
        texts = [spoken(text) for text in texts_of(outcome) if text not in given.values()]
    assert not [text for text in texts if english_in(text)]


def texts_of(outcome: Finding | NotEvaluated | None) -> list[str]:
    if isinstance(outcome, NotEvaluated):
        return [outcome.name, outcome.reason, outcome.record_next or ""]
    if outcome is None:
        return []
    evidence = [each.metric for each in outcome.evidence]
    advice = [text or "" for each in outcome.advice for text in (each.text, each.verify)]
    return [outcome.name, outcome.summary, *evidence, *advice]


@pytest.mark.parametrize("rule", DOCUMENTED, ids=lambda rule: rule.code)
def test_the_page_of_a_rule_is_all_translated(rule) -> None:  # type: ignore[no-untyped-def]
    with speaking("zh"):
        assert not english_in(page(rule))


def test_the_report_of_a_run(new_tool) -> None:
    code, out, err = new_tool("analyze_performance.py")(DEMO, "--lang", "zh", "--width", "80")
    assert code == 0
    assert not err
    assert "结论" in out
    assert not english_in(out)
    assert "\x1b" not in out
    assert max(cell_len(line) for line in out.splitlines()) <= 80


def test_the_report_of_a_machine(new_tool) -> None:
    code, out, _ = new_tool("diagnose_memory.py")("--lang", "zh", "--width", "80")
    assert code == 0
    assert "本机内存" in out
    assert not english_in(out)


def test_a_forecast(new_tool) -> None:
    config = ROOT / "configs/demo.yaml"
    _, out, _ = new_tool("diagnose_memory.py")("--config", config, "--lang", "zh", "--width", "100")
    assert "预测" in out
    assert not english_in(out)


@pytest.mark.parametrize("tool", ["analyze_performance.py", "diagnose_memory.py"])
def test_help(new_tool, tool: str) -> None:
    code, out, _ = new_tool(tool)("--help", "--lang", "zh")
    assert code == 0
    assert out.startswith("用法：")
    assert not english_in(out.replace("--fail-on {none,note,warn,critical}", ""))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere 不存在"),
        (["--width", "7"], "参数 --width：需要 40 到 1000 之间的整数，得到的是 '7'"),
        (["--nonsense"], "无法识别的参数：--nonsense"),
        (["--fail-on", "x"], "无效的选择：'x'"),
        (["--json"], "参数 --json：需要一个参数"),
        (["--explain", "XX999"], "没有规则 'XX999'"),
    ],
)
def test_errors(new_tool, arguments: list[str], expected: str) -> None:
    code, out, err = new_tool("analyze_performance.py")(*arguments, "--lang=zh")
    assert code == 2
    assert not out
    assert expected in err
    assert err.count("\n") == 1


def test_what_the_trainer_says_of_a_configuration(new_tool) -> None:
    config = ROOT / "configs/demo.yaml"
    code, _, err = new_tool("diagnose_memory.py")(
        "--config", config, "TRAIN.BATCH_SIZE=x", "--lang=zh"
    )
    assert code == 2
    assert "命令行：'TRAIN.BATCH_SIZE' 必须是整数，得到的是 'x'" in err


def test_an_unknown_language_is_a_bad_argument(new_tool) -> None:
    code, _, err = new_tool("analyze_performance.py")(DEMO, "--lang", "fr")
    assert code == 2
    assert "--lang" in err


def test_json_differs_in_prose_alone(new_tool) -> None:
    run = new_tool("analyze_performance.py")
    english = json.loads(run(DEMO, "--json", "-")[1])
    chinese = json.loads(run(DEMO, "--json", "-", "--lang", "zh")[1])
    assert (english["language"], chinese["language"]) == ("en", "zh")
    assert not english_in(chinese["verdict"]["text"])
    differing = set(differences(english, chinese))
    assert differing <= TEXT_KEYS | {"language"}
    assert [each["rule"] for each in chinese["findings"]] == [
        each["rule"] for each in english["findings"]
    ]


def differences(one: object, other: object, key: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        return [name for each in one for name in differences(one[each], other[each], each)]
    if isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        return [name for a, b in zip(one, other, strict=True) for name in differences(a, b, key)]
    return [] if one == other else [key]


def visible(page: str) -> str:
    """What a page shows and says: its text, and the names that a screen reader speaks."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    names = re.findall(r'(?:aria-label|data-name)="([^"]*)"', page)
    return html.unescape("\n".join([*re.split(r"<[^>]+>", page), *names]))


@pytest.mark.parametrize("tool", ["analyze_performance.py", "diagnose_memory.py"])
def test_the_page_of_a_report(new_tool, tmp_path: Path, tool: str) -> None:
    file = tmp_path / "report.html"
    new_tool(tool)(DEMO, "--lang", "zh", "--html", file)
    page = file.read_text("utf-8")
    assert 'lang="zh"' in page
    assert not english_in(visible(page))


def test_checklist_baseline_and_plans(new_tool) -> None:
    run = new_tool("analyze_performance.py")
    plans = ROOT / "configs/deblur"
    for arguments in (["--checklist"], ["--baseline", DEMO], ["--plans", plans]):
        _, out, _ = run(DEMO, "--lang", "zh", *arguments)
        assert not english_in(out)


def test_the_report_of_a_trace(new_tool, tmp_path: Path) -> None:
    trace = tmp_path / "one.pt.trace.json"
    write_trace(trace, starved_steps())
    code, out, _ = new_tool("analyze_performance.py")(trace, "--lang", "zh")
    assert "trace" in out
    assert code in (0, 3)
    assert not english_in(out)


def test_the_text_for_tensorboard() -> None:
    with speaking("zh"):
        text = to_markdown(build_report(load_run([DEMO])))
    assert "训练步的各阶段" in text
    assert not english_in(text)

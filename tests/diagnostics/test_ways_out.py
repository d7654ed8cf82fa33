"""Links are never replaced: the file behind them is written, descriptors are written into."""

import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.command_line import write_atomically
from diagnostics.errors import DiagnosticsError

WRITES = (
    "import sys\n"
    "from diagnostics.command_line import write_json\n"
    "print('before')\n"
    "write_json(sys.argv[1], '{}\\n')\n"
    "print('after')\n"
)
needs_descriptors = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


@needs_descriptors
@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize("behind_another", [False, True])
def test_a_link_to_standard_output_stays_and_nothing_is_overwritten(
    tmp_path: Path, mode: str, behind_another: bool
) -> None:
    link, printed = tmp_path / "stdout", tmp_path / "printed"
    link.symlink_to("/proc/self/fd/1")
    if behind_another:
        link, first = tmp_path / "another", link
        link.symlink_to(first.name)
    printed.write_bytes(b"old\n")
    with printed.open(mode) as stdout:
        subprocess.run([sys.executable, "-c", WRITES, str(link)], stdout=stdout, check=True)
    old = b"old\n" if mode == "ab" else b""
    assert printed.read_bytes() == old + b"before\n{}\nafter\n"
    assert (tmp_path / "stdout").readlink() == Path("/proc/self/fd/1")
    assert link.is_symlink()
    assert not list(tmp_path.glob(".*"))


@needs_descriptors
def test_a_descriptor_that_takes_nothing_is_one_line(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("old")
    with kept.open() as file:
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        with pytest.raises(DiagnosticsError, match="cannot be written: Bad file descriptor"):
            write_atomically(link, "new")
    assert kept.read_text() == "old"
    with pytest.raises(DiagnosticsError, match="cannot be written: No such file"):
        write_atomically(link, "new")
    assert link.is_symlink()


@needs_descriptors
def test_the_descriptor_of_another_process_is_written_at_its_end(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("old\n")
    with kept.open("ab") as output:
        other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
    try:
        link.symlink_to(f"/proc/{other.pid}/fd/1")
        write_atomically(link, "new\n")
    finally:
        other.communicate()
    assert kept.read_text() == "old\nnew\n"
    assert link.is_symlink()


@pytest.mark.parametrize("there", [True, False])
def test_the_file_behind_a_link_is_replaced_whole(tmp_path: Path, there: bool) -> None:
    folder, link = tmp_path / "elsewhere", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("elsewhere/report.json")
    if there:
        link.write_text("a longer old text")
    write_atomically(link, "new")
    assert link.readlink() == Path("elsewhere/report.json")
    assert (folder / "report.json").read_text() == "new"
    assert [file.name for file in folder.iterdir()] == ["report.json"]


@pytest.mark.parametrize("target", ["link", "folder", "missing/report.json", "/"])
def test_a_link_that_leads_to_no_file_is_one_line_and_stays(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(DiagnosticsError, match="link: cannot be written"):
        write_atomically(link, "new")
    assert str(link.readlink()) == target
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "link"]

"""A facts folder: meta.json and the JSON lines of all ranks and machines, each line checked.

A line that does not fit the declared record is left out and counted; the last line of a file may
be cut by a kill and is dropped. Keys that this version does not know are ignored.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.black_box_files import find_dumps
from diagnostics.parsers.fact_records import (
    SCHEMA_VERSION,
    EventRecord,
    LineRecord,
    ResourceRecord,
    RunRecord,
    SchemaOnly,
    SpanRecord,
    StagesRecord,
    StepRecord,
)
from diagnostics.parsers.fact_rows import FactRows
from diagnostics.parsers.line_reader import LineReader
from diagnostics.run import RunTables

META = "meta.json"
TRACE_END = ".pt.trace.json.gz"
MAX_META_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
_RANK_FILE = re.compile(r"(?:steps|spans)\.rank(\d{1,6})\.jsonl")
_RESOURCE_FILE = re.compile(r"resources\.(.{1,200})\.jsonl")


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What a facts folder holds. `meta` is None when meta.json is missing or damaged.

    `num_bytes` is the size of the files of the ranks; None if the system would not tell.
    `traces` are the profiler's files beside it, which are not read here.
    """

    folder: Path
    meta: RunRecord | None
    ranks: tuple[int, ...]
    num_bytes: int | None
    gpus_absent_reason: str | None
    tables: RunTables
    notes: tuple[str, ...]
    traces: tuple[Path, ...] = ()


def is_facts_folder(folder: Path) -> bool:
    """Whether the folder holds what a run leaves: meta.json or a file of a rank."""
    try:
        return any(
            each.name == META or _RANK_FILE.fullmatch(each.name) for each in folder.iterdir()
        )
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {folder}: {strerror}", folder=folder, strerror=error.strerror)
        ) from None


def read_meta(folder: Path) -> RunRecord:
    """The run's meta.json.

    Raises:
        DiagnosticsError: it is missing, damaged, or of a schema that this version cannot read.
    """
    path = folder / META
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise DiagnosticsError(say("cannot read {path}: it is not a plain file", path=path))
        with path.open("rb") as file:
            text = file.read(MAX_META_BYTES + 1)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from None
    if len(text) > MAX_META_BYTES:
        raise DiagnosticsError(
            say(
                "{path} is larger than {limit} bytes; it is damaged",
                path=path,
                limit=MAX_META_BYTES,
            )
        )
    try:
        schema = msgspec.json.decode(text, type=SchemaOnly).schema
        if schema == SCHEMA_VERSION:
            return msgspec.json.decode(text, type=RunRecord)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DiagnosticsError(
            say("{path} is damaged: {error}", path=path, error=str(error)[:200])
        ) from None
    raise _wrong_schema(path, schema)


def parse_facts(folder: Path) -> Facts:
    """Reads a facts folder.

    Raises:
        DiagnosticsError: the folder cannot be read, or its schema is another one.
    """
    return _FactsParser(folder).parse()


def _size_of_rank_files(paths: Iterable[Path]) -> int | None:
    try:
        return sum(path.stat().st_size for path in paths if _RANK_FILE.fullmatch(path.name))
    except OSError:
        return None


def _wrong_schema(path: Path, schema: object) -> DiagnosticsError:
    return DiagnosticsError(
        say(
            "{path} has schema {schema}; this version reads schema {known}: use the "
            "tools of the version that wrote it",
            path=path,
            schema=schema,
            known=SCHEMA_VERSION,
        )
    )


class _FactsParser:
    """The state of reading one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = FactRows()
        self.ranks: set[int] = set()
        self.notes: list[str] = []
        self.decoder = msgspec.json.Decoder(LineRecord)

    def parse(self) -> Facts:
        meta = self._meta()
        for path in sorted(self._files()):
            if rank := _RANK_FILE.fullmatch(path.name):
                self.ranks.add(int(rank[1]))
                self._read(path, rank=int(rank[1]), host="")
            elif host := _RESOURCE_FILE.fullmatch(path.name):
                self._read(path, rank=0, host=host[1])
        if not self.ranks:
            self.notes.append("no file of a rank: the run ended before its first step")
        for dump in find_dumps(self.folder):
            self.rows.add_found_dump(dump)
        tables = self.rows.tables()
        self.notes += self.rows.notes()
        return Facts(
            folder=self.folder,
            meta=meta,
            ranks=tuple(sorted(self.ranks)),
            num_bytes=_size_of_rank_files(self._files()),
            gpus_absent_reason=self.rows.gpus_absent_reason,
            tables=tables,
            notes=tuple(self.notes),
            traces=tuple(sorted(each for each in self._files() if each.name.endswith(TRACE_END))),
        )

    def _files(self) -> list[Path]:
        """Plain files only: a pipe or a device in the folder would never end."""
        try:
            return [each for each in self.folder.iterdir() if each.is_file()]
        except OSError as error:
            raise DiagnosticsError(
                say("cannot read {folder}: {strerror}", folder=self.folder, strerror=error.strerror)
            ) from None

    def _meta(self) -> RunRecord | None:
        """None with a note where it is damaged; a foreign schema ends the reading."""
        try:
            return read_meta(self.folder)
        except DiagnosticsError as error:
            if " has schema " in str(error):
                raise
            self.notes.append(say("{error}; what it says about the run is unknown", error=error))
            return None

    def _read(self, path: Path, rank: int, host: str) -> None:
        reader = LineReader(path, MAX_LINE_BYTES)
        rejected: Counter[str] = Counter()
        for line in reader:
            if not line:
                continue
            try:
                record = self.decoder.decode(line)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                rejected[str(error)[:120]] += 1
                if len(rejected) > 100:  # the reasons are for people: a few suffice
                    rejected = Counter({"of many kinds": rejected.total()})
                continue
            self._add(record, rank, host, f"{path.name}:{reader.line_number}")
        self.notes += [say("{file}: {note}", file=path.name, note=note) for note in reader.notes()]
        if rejected:
            reason = rejected.most_common(1)[0][0]
            self.notes.append(
                say(
                    "{name}: {total} of {line_number} lines do not fit the record and were "
                    "left out ({reason})",
                    name=path.name,
                    total=rejected.total(),
                    line_number=reader.line_number,
                    reason=reason,
                )
            )

    def _add(self, record: Any, rank: int, host: str, source: str) -> None:
        match record:
            case StepRecord():
                self.rows.add_step(record, rank)
            case StagesRecord():
                self.rows.add_stages(record, rank)
            case SpanRecord():
                self.rows.add_span(record, rank)
            case EventRecord():
                self.rows.add_event(record, rank, source)
            case ResourceRecord():
                self.rows.add_resources(record, host)

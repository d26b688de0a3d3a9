"""Tables in files: rows read one at a time as JSON, and predictions written as text.

CSV, TSV and JSON lines are read here, gzipped or not; Parquet in parquet.py.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import IO, Any, NamedTuple

from app.errors import Problem

LONGEST = 16 << 20
"""Bytes of a line or a CSV field. A quote that is never closed must not eat the whole file."""

NULL = "null"
EVERY = "all"
json_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
number = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch

coded = re.compile(r"0[0-9]+").fullmatch
SAMPLE = 1000
"""Rows whose cells tell what kind of column it is, where the model does not say."""


class Row(NamedTuple):
    """One row of a table.

    number: from 1. text: it as JSON, as it is sent. held: it as the file has it. end: where the
    next row begins, for `Source.rows`. fault: why it cannot be read, else empty.
    """

    number: int
    text: str
    held: Any
    end: int
    fault: str = ""


@dataclass(frozen=True)
class Wanted:
    """What of each row is sent and what is kept.

    keep: names of columns for the output; "all" alone is every one. datatypes: of the columns the
    model takes, where they are known. width: of a model's matrix, else 0. lists: send rows without
    names. as_text: keep CSV cells as they are written.
    """

    keep: tuple[str, ...] = ()
    datatypes: Mapping[str, str] = field(default_factory=dict)
    width: int = 0
    lists: bool = False
    as_text: bool = False

    @property
    def unnamed(self) -> bool:
        return self.lists or bool(self.width)

    def kept_of(self, names: Sequence[str]) -> list[str]:
        """The columns among `names` that are kept. Raises Problem when one is not there."""
        if self.keep == (EVERY,):
            return list(names)
        kept: list[str] = []
        for word in self.keep:
            kept += [word] if word in names else word.split(",")
        for name in kept:
            if name not in names:
                raise Problem(
                    f'The file has no column "{name}" to keep.',
                    remedy=f"Its columns are: {', '.join(names)}",
                )
        return list(dict.fromkeys(kept))

    def sent_of(self, names: Sequence[str]) -> list[str]:
        """The columns among `names` that the model is sent."""
        if self.width and len(names) > self.width:
            kept = self.kept_of(names) if self.keep != (EVERY,) else []
            return [name for name in names if name not in kept]
        known = [name for name in names if name in self.datatypes]
        return known or list(names)


class Lines:
    """The lines of a text file, gzipped or not, and how far one has come in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0
        self.fault = ""
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise unreadable(path) from error
        self._text: Any = self._file
        if path.suffix.lower() == ".gz":
            self._text = gzip.GzipFile(fileobj=self._file)
        self.total = os.fstat(self._file.fileno()).st_size

    @property
    def done(self) -> int:
        """Bytes of the file that were read."""
        return self._file.tell()

    def begin(self, at: int) -> None:
        """Go on at this place, a former `end`."""
        try:
            self._text.seek(at)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self.path) from error
        self.end = at

    def __iter__(self) -> Iterator[str]:
        """Each line; `fault` says what is wrong with those that came since it was last emptied."""
        try:
            while line := self._text.readline(LONGEST):
                if len(line) == LONGEST and not line.endswith(b"\n"):
                    self._skip(len(line))
                    line = line[:1000]
                else:
                    self.end += len(line)
                yield self._decoded(line)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self.path) from error

    def _skip(self, length: int) -> None:
        """Pass over the rest of a line."""
        self.fault = f"A line is longer than {LONGEST >> 20} MiB."
        while rest := self._text.readline(LONGEST):
            length += len(rest)
            if rest.endswith(b"\n"):
                break
        self.end += length

    def _decoded(self, line: bytes) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.fault = self.fault or "It is not UTF-8 text."
            text = line.decode("utf-8", "replace")
        return text[1:] if text.startswith("\ufeff") and self.end <= len(line) else text

    def close(self) -> None:
        self._file.close()


def unreadable(path: Path) -> Problem:
    return Problem(f'"{path}" cannot be read.', remedy="Check the file, then run it again.")


class CsvTable:
    """Rows of cells under one header row."""

    def __init__(self, path: Path, wanted: Wanted, delimiter: str = ",") -> None:
        csv.field_size_limit(LONGEST)
        self._lines = Lines(path)
        try:
            self._look(path, wanted, delimiter)
        except BaseException:
            self.close()
            raise

    def _look(self, path: Path, wanted: Wanted, delimiter: str) -> None:
        """Read the header, and what kinds of columns these are."""
        self._delimiter = delimiter
        self.names = self._header(path)
        self._first = self._lines.end
        self._sent: list[tuple[int, str, Callable[[str], str]]] = []
        self._ends = ("", "")
        self.kept_names = wanted.kept_of(self.names)
        self._kept = [self.names.index(name) for name in self.kept_names]
        texts = self._texts()
        self._plain = [
            as_it_is if wanted.as_text or self.names[index] in texts else plain
            for index in self._kept
        ]
        self._sent = [
            (
                self.names.index(name),
                "" if wanted.unnamed else quoted(name) + ":",
                converter(wanted.datatypes.get(name, "BYTES" if name in texts else "")),
            )
            for name in wanted.sent_of(self.names)
        ]
        self._ends = ("[", "]") if wanted.unnamed else ("{", "}")

    def _texts(self) -> set[str]:
        """The columns that hold codes, or mostly other than numbers, at the file's beginning."""
        rows = [row.held for row in islice(self.rows(), SAMPLE) if not row.fault]
        columns: list[tuple[str, ...]] = list(zip(*rows, strict=True))
        return {name for name, cells in zip(self.names, columns, strict=False) if is_text(cells)}

    def _header(self, path: Path) -> list[str]:
        try:
            names = next(csv.reader(self._lines, delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            raise Problem(f'The header row of "{path}" cannot be read.') from error
        if not names or self._lines.fault:
            raise Problem(
                f'"{path}" has no header row.',
                cause=self._lines.fault,
                remedy="Its first line must name the columns, in UTF-8.",
            )
        if twice := [name for name in names if names.count(name) > 1]:
            raise Problem(f'"{path}" has two columns named "{twice[0]}".')
        return names

    @property
    def done(self) -> int:
        return self._lines.done

    @property
    def total(self) -> int:
        return self._lines.total

    def rows(self, at: int = 0, number: int = 0) -> Iterator[Row]:
        """The rows from a place on, after `number` others."""
        self._lines.begin(at or self._first)
        reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        while True:
            self._lines.fault = ""
            try:
                cells = next(reader, None)
            except csv.Error as error:
                number += 1
                yield Row(number, "", [], self._lines.end, f"It is not CSV: {error}.")
                continue
            if cells is None:
                return
            if cells:
                number += 1
                yield self._row(number, cells)

    def _row(self, number: int, cells: list[str]) -> Row:
        fault = self._lines.fault
        if len(cells) != len(self.names):
            fault = fault or f"It has {len(cells)} fields, the header has {len(self.names)}."
        if fault:
            return Row(number, "", cells, self._lines.end, fault)
        first, last = self._ends
        texts = [name + convert(cells[index]) for index, name, convert in self._sent]
        return Row(number, first + ",".join(texts) + last, cells, self._lines.end)

    def kept(self, row: Row) -> dict[str, Any]:
        """The columns that go to the output."""
        cells = row.held
        if len(cells) != len(self.names):
            return dict.fromkeys(self.kept_names)
        return {
            name: plain(cells[index])
            for name, index, plain in zip(self.kept_names, self._kept, self._plain, strict=True)
        }

    def shown(self, row: Row) -> Any:
        """The row for people who look for what is wrong with it."""
        if len(row.held) != len(self.names):
            return row.held
        return dict(zip(self.names, row.held, strict=True))

    def close(self) -> None:
        self._lines.close()


def converter(datatype: str) -> Callable[[str], str]:
    """How the cells of a column become JSON. datatype: the Open Inference Protocol's, or none."""
    if datatype == "BYTES":
        return json_text
    if datatype == "BOOL":
        return json_truth
    return json_measured if datatype else json_guessed


def json_text(cell: str) -> str:
    return quoted(cell) if cell else NULL


def json_guessed(cell: str) -> str:
    """A number where the text is one."""
    if json_number(cell):
        return cell
    bare = cell.strip()
    if number(bare):
        return _written(bare)
    return json_text(cell)


def json_measured(cell: str) -> str:
    """A cell of a column of numbers."""
    if json_number(cell):
        return cell
    return NULL if cell.strip().lower() == "nan" else json_guessed(cell)


def json_truth(cell: str) -> str:
    low = cell.strip().lower()
    return low if low in ("true", "false") else json_guessed(cell)


def _written(text: str) -> str:
    """A number such as +1, .5 or 007 in JSON's own way."""
    sign = "-" if text.startswith("-") else ""
    whole, dot, rest = text.lstrip("+-").partition(".")
    if not dot:
        whole, e, rest = whole.lower().partition("e")
        return sign + (whole.lstrip("0") or "0") + (f"e{rest}" if e else "")
    if not rest[:1].isdigit():
        rest = f"0{rest}"
    return f"{sign}{whole.lstrip('0') or '0'}.{rest}"


def is_text(cells: Sequence[str]) -> bool:
    """Whether a column is of text: one that holds codes such as 007, or mostly no numbers."""
    bare = [cell.strip() for cell in cells if cell]
    return any(map(coded, bare)) or sum(map(bool, map(number, bare))) * 2 < len(bare)


def plain(cell: str) -> Any:
    """A cell of a column of numbers as a value."""
    if not cell:
        return None
    return json.loads(cell) if json_number(cell) else cell


def as_it_is(cell: str) -> Any:
    return cell or None


class JsonTable:
    """A JSON value a line: records, lists, or whatever the model takes."""

    names: Sequence[str] = ()

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._lines = Lines(path)
        self._wanted = wanted
        words = [] if wanted.keep == (EVERY,) else ",".join(wanted.keep).split(",")
        self._keep = [word for word in words if word]
        self._odd = False
        self._decode = json.JSONDecoder(parse_constant=self._constant).decode

    def _constant(self, _: str) -> None:
        """NaN and the infinities, which are no JSON, become null as in answers."""
        self._odd = True

    @property
    def kept_names(self) -> list[str]:
        return self._keep

    @property
    def done(self) -> int:
        return self._lines.done

    @property
    def total(self) -> int:
        return self._lines.total

    def rows(self, at: int = 0, number: int = 0) -> Iterator[Row]:
        """The rows from a place on, after `number` others."""
        self._lines.begin(at)
        self._lines.fault = ""
        for line in self._lines:
            if text := line.strip():
                number += 1
                yield self._row(number, text)
                self._lines.fault = ""

    def _row(self, number: int, text: str) -> Row:
        end, fault = self._lines.end, self._lines.fault
        self._odd = False
        if not fault:
            try:
                value = self._decode(text)
            except (ValueError, RecursionError) as error:
                said = getattr(error, "msg", "") or "it is nested too deeply"
                fault = f"It is not JSON: {said}."
        if fault:
            return Row(number, "", text, end, fault)
        return Row(number, self._sent(value, text), value, end)

    def _sent(self, value: Any, text: str) -> str:
        if type(value) is dict:
            record = value
            if self._wanted.width and len(record) > self._wanted.width:
                record = {name: held for name, held in record.items() if name not in self._keep}
            if self._wanted.lists:
                return json.dumps(list(record.values()), ensure_ascii=False)
            if record is not value:
                return json.dumps(record, ensure_ascii=False)
        return json.dumps(value, ensure_ascii=False) if self._odd else text

    def kept(self, row: Row) -> dict[str, Any]:
        """The columns that go to the output; rows without names are one column, `inputs`."""
        record = row.held if type(row.held) is dict else {}
        if self._wanted.keep != (EVERY,):
            return {name: record.get(name) for name in self._keep}
        return record if type(row.held) is dict or row.fault else {"inputs": row.held}

    def shown(self, row: Row) -> Any:
        """The row for people who look for what is wrong with it."""
        return row.held

    def close(self) -> None:
        self._lines.close()


# Writing


class CsvText:
    """Rows as CSV, one header row first."""

    same_columns = True

    def __init__(self, delimiter: str = ",") -> None:
        self._delimiter = delimiter

    def head(self, columns: Sequence[str]) -> bytes:
        return self._joined([columns])

    def rows(self, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> bytes:
        return self._joined([_cell(record.get(name)) for name in columns] for record in records)

    def _joined(self, rows: Iterable[Iterable[Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self._delimiter, lineterminator="\n").writerows(rows)
        return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return value


class JsonText:
    """Rows as JSON lines. same_columns: whether all rows must have the same."""

    def __init__(self, same_columns: bool = False) -> None:
        self.same_columns = same_columns

    def head(self, columns: Sequence[str]) -> bytes:
        return b""

    def rows(self, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> bytes:
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        return "".join(lines).encode("utf-8", "replace")


# Which is which

KINDS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
DELIMITERS = {"csv": ",", "tsv": "\t"}


def kind_of(path: Path, *, packed: bool = False) -> str:
    """csv, tsv, jsonl or parquet, by the file's name. packed: .gz may follow. Raises Problem."""
    if str(path) == "<stdin>":
        raise Problem(
            "A table cannot come from stdin.",
            cause="It is read again where an interrupted run goes on.",
            remedy="Write it into a file, and name that with --data.",
        )
    gz = path.suffix.lower() == ".gz"
    kind = KINDS.get(Path(path.stem if gz else path.name).suffix.lower(), "")
    if not kind or (gz and (not packed or kind == "parquet")):
        more = " (the first four also with .gz)" if packed else ""
        raise Problem(
            f'What kind of table "{path}" is cannot be told from its name.',
            remedy=f"Let it end in {', '.join(KINDS)}{more}.",
        )
    return kind


def is_table(path: Path) -> bool:
    """Whether a file is a table that no request can be: JSON lines may be one."""
    packed = path.suffix.lower() == ".gz"
    kind = KINDS.get(Path(path.stem if packed else path.name).suffix.lower())
    return kind not in (None, "jsonl")

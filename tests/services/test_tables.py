"""Rows of tables as they are sent, kept and written."""

import gzip
import json

import pytest

from app.errors import Problem
from app.services import tables
from app.services.tables import CsvTable, CsvText, JsonTable, JsonText, Wanted, kind_of


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """Closes the files of all tables that a test opens."""
    files = []

    class Watched(tables.Lines):
        def __init__(self, path):
            super().__init__(path)
            files.append(self)

    monkeypatch.setattr(tables, "Lines", Watched)
    yield
    for file in files:
        file.close()


def csv_table(tmp_path, text, wanted=None, delimiter=","):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvTable(path, wanted or Wanted(), delimiter)


def sent(table):
    return [json.loads(row.text) for row in table.rows() if not row.fault]


def faults(table):
    return {row.number: row.fault for row in table.rows() if row.fault}


def test_numbers_are_numbers_and_empty_cells_are_null(tmp_path):
    table = csv_table(tmp_path, "a,b,c\n1,2.50,ann\n-3e2,,\n")
    assert sent(table) == [{"a": 1, "b": 2.5, "c": "ann"}, {"a": -300.0, "b": None, "c": None}]


def test_digits_of_a_number_are_sent_as_they_are_written(tmp_path):
    table = csv_table(tmp_path, "a\n0.1000000000000000055511151231257827\n")
    assert next(table.rows()).text == '{"a":0.1000000000000000055511151231257827}'


@pytest.mark.parametrize(
    ("cell", "value"),
    [("+1", 1), (".5", 0.5), ("5.", 5.0), ("-.5e1", -5.0), (" 7 ", 7), ("1.e2", 100.0)],
)
def test_numbers_that_json_writes_in_another_way_are_numbers(tmp_path, cell, value):
    assert sent(csv_table(tmp_path, f"a\n{cell}\n")) == [{"a": value}]


def test_column_of_codes_stays_text_also_where_a_code_looks_like_a_number(tmp_path):
    table = csv_table(tmp_path, "code,x\n007,1\n123,2\n")
    assert sent(table) == [{"code": "007", "x": 1}, {"code": "123", "x": 2}]


def test_stray_text_leaves_a_column_of_numbers_what_it_is(tmp_path):
    assert sent(csv_table(tmp_path, "a\n1\nn/a\n2\n")) == [{"a": 1}, {"a": "n/a"}, {"a": 2}]


def test_what_the_model_says_of_a_column_counts(tmp_path):
    wanted = Wanted(datatypes={"code": "BYTES", "x": "FP64", "yes": "BOOL"})
    table = csv_table(tmp_path, "code,x,yes,other\n7,007,True,1\n8,nan,false,2\n", wanted)
    assert sent(table) == [
        {"code": "7", "x": 7, "yes": True},
        {"code": "8", "x": None, "yes": False},
    ]


def test_matrix_is_sent_without_names_and_without_the_key(tmp_path):
    table = csv_table(tmp_path, "id,a,b\n001,1,2\n002,3,4\n", Wanted(keep=("id",), width=2))
    assert sent(table) == [[1, 2], [3, 4]]
    assert [table.kept(row) for row in table.rows()] == [{"id": "001"}, {"id": "002"}]


def test_kept_cells_are_values_in_json_and_untouched_in_csv(tmp_path):
    text = "a,b,c\n1.50,007,\n2,1,x\n"
    as_values = csv_table(tmp_path, text, Wanted(keep=("all",)))
    assert [as_values.kept(row) for row in as_values.rows()] == [
        {"a": 1.5, "b": "007", "c": None},
        {"a": 2, "b": "1", "c": "x"},
    ]
    as_text = csv_table(tmp_path, text, Wanted(keep=("a,b",), as_text=True))
    assert next(map(as_text.kept, as_text.rows())) == {"a": "1.50", "b": "007"}


def test_quotes_newlines_and_a_byte_order_mark_are_understood(tmp_path):
    table = csv_table(tmp_path, b'\xef\xbb\xbf"a","b"\r\n"x, ""y""\nz",1\r\n\r\n"w",2\r\n')
    assert sent(table) == [{"a": 'x, "y"\nz', "b": 1}, {"a": "w", "b": 2}]


def test_bad_lines_are_bad_rows_and_the_next_ones_are_not(tmp_path):
    table = csv_table(tmp_path, b'a,b\n1,2\n3\n4,5,6\n7,"x"y\n8,\xff\n9,10\n')
    assert [row["a"] for row in sent(table)] == [1, 9]
    assert faults(table) == {
        2: "It has 1 fields, the header has 2.",
        3: "It has 3 fields, the header has 2.",
        4: "It is not CSV: ',' expected after '\"'.",
        5: "It is not UTF-8 text.",
    }


def test_quote_that_is_never_closed_does_not_eat_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST", 1000)
    table = csv_table(tmp_path, 'a,b\n"1,2\n' + "3,4\n" * 1000)
    assert list(faults(table)) == [1]
    assert 500 < len(sent(table)) < 1000


def test_line_without_an_end_is_one_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST", 100)
    path = tmp_path / "t.jsonl"
    path.write_text("[1]\n" + "9" * 1234 + "\n[2]\n")
    table = JsonTable(path, Wanted())
    assert sent(table) == [[1], [2]]
    assert list(faults(table)) == [2]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz"])
def test_reading_goes_on_from_the_end_of_any_row(tmp_path, name):
    csv_text = "a,b\n" + "".join(f'{n},"é\n{n}"\n' for n in range(20))
    json_text = "".join(f'{{"a": {n}, "b": "é{n}"}}\n\n' for n in range(20))
    text = (csv_text if "csv" in name else json_text).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)

    def rows(at=0, number=0):
        kind = CsvTable if "csv" in name else JsonTable
        return list(kind(tmp_path / name, Wanted()).rows(at, number))

    whole = rows()
    assert len(whole) == 20
    for row in whole:
        assert rows(row.end, row.number) == whole[row.number :]


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "has no header row"), ("a,b,a\n", 'two columns named "a"'), ('"a', "header row")],
)
def test_header_that_cannot_be_used_is_a_problem(tmp_path, text, what):
    with pytest.raises(Problem) as problem:
        csv_table(tmp_path, text)
    assert what in problem.value.what


def test_column_to_keep_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Problem) as problem:
        csv_table(tmp_path, "a,b\n", Wanted(keep=("a,z",)))
    assert problem.value.what == 'The file has no column "z" to keep.'


def test_damaged_gzip_is_a_problem(tmp_path):
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b"[1]\n" * 100_000)[:-20])
    with pytest.raises(Problem):
        list(JsonTable(tmp_path / "t.jsonl.gz", Wanted()).rows())


def test_json_lines_are_sent_as_they_are(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a":  1}\n\n[1, 2]\n3\n{"a": NaN}\nnope\n')
    rows = list(JsonTable(path, Wanted(keep=("a",))).rows())
    assert [row.text for row in rows] == ['{"a":  1}', "[1, 2]", "3", '{"a": null}', ""]
    assert rows[-1].fault == "It is not JSON: Expecting value."


def test_records_become_lists_when_asked(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "b": 2}\n[3, 4]\n')
    assert sent(JsonTable(path, Wanted(lists=True))) == [[1, 2], [3, 4]]


def test_written_csv_is_read_back_the_same(tmp_path):
    writer = CsvText()
    records = [{"a": 'x,"y"\n', "b": 0.1, "c": None}, {"a": "", "b": True, "c": [1, {"d": 2}]}]
    text = writer.head(["a", "b", "c"]) + writer.rows(["a", "b", "c"], records)
    table = csv_table(tmp_path, text, Wanted(datatypes=dict.fromkeys("abc", "BYTES")))
    assert sent(table) == [
        {"a": 'x,"y"\n', "b": "0.1", "c": None},
        {"a": None, "b": "true", "c": '[1, {"d": 2}]'},
    ]


def test_row_of_one_empty_cell_is_still_a_row(tmp_path):
    text = CsvText().head(["a"]) + CsvText().rows(["a"], [{"a": None}, {"a": 1}])
    assert sent(csv_table(tmp_path, text)) == [{"a": None}, {"a": 1}]


def test_json_lines_are_one_record_each():
    assert JsonText().rows((), [{"a": "é"}, {"b": None}]) == '{"a": "é"}\n{"b": null}\n'.encode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.CSV", "csv"), ("a.b.tsv.gz", "tsv"), ("a.ndjson", "jsonl"), ("a.parquet", "parquet")],
)
def test_kind_is_told_by_the_name(tmp_path, name, kind):
    assert kind_of(tmp_path / name, packed=True) == kind


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.gz", "a.parquet.gz", ".csv.bak"])
def test_other_names_are_a_problem(tmp_path, name):
    with pytest.raises(Problem):
        kind_of(tmp_path / name, packed=True)

"""Large bodies of numbers are read the quick way with just the result of the usual one."""

import json
import random
import struct

import pytest

from app.scoring.errors import Refusal
from app.scoring.http import Request
from app.scoring.inputs import Reader
from app.scoring.protocols import blocks, kserve, mlflow, native, oip

COLUMNS = 30
NAMES = [f"c{number}" for number in range(COLUMNS)]
ROWS = [
    [random.Random(row * 31 + column).uniform(-1e6, 1e6) for column in range(COLUMNS)]
    for row in range(40)
]
MIXED = [[-0.0, 5, 2**53 + 1, -(2**63), 2**64 - 1, 1e-320, *row[6:]] for row in ROWS]
FLAT = [value for row in ROWS for value in row]


def readers():
    array = Reader("ndarray")
    array.learn(array.rows([[0.5] * COLUMNS]))
    frame = Reader("dataframe")
    frame.learn(frame.records([dict.fromkeys(NAMES, 0.5)]))
    unnamed = Reader("dataframe")
    unnamed.learn(unnamed.rows([[0.5] * COLUMNS]))
    said = {name: {"type": "float64", "min": -2e6} for name in NAMES}
    declared = Reader("dataframe", said=said)
    declared.learn(declared.records([dict.fromkeys(NAMES, 0.5)]))
    block = Reader("ndarray", said={"x": {"type": "float64", "shape": [COLUMNS], "max": 2e6}})
    block.learn(block.rows([[0.5] * COLUMNS]))
    return {
        "array": array,
        "frame": frame,
        "unnamed": unnamed,
        "declared frame": declared,
        "declared array": block,
    }


READERS = readers()


def text(value):
    return json.dumps(value).encode()


def tensor(values, **more):
    shape = [len(values) // COLUMNS, COLUMNS]
    one = {"name": "x", "shape": shape, "datatype": "FP64", "data": values, **more}
    return text({"id": "7", "inputs": [one], "outputs": [{"name": "predict"}]})


def table(rows, **more):
    return text({"dataframe_split": {"columns": NAMES, "data": rows, **more}})


QUICK = [
    (native.dialect, text({"inputs": ROWS})),
    (native.dialect, text({"instances": ROWS})),
    (native.dialect, text({"inputs": MIXED})),
    (native.dialect, json.dumps({"inputs": ROWS}, indent=1).encode()),
    (kserve.dialect, text({"instances": ROWS})),
    (mlflow.dialect, text({"inputs": ROWS})),
    (mlflow.dialect, table(ROWS)),
    (mlflow.dialect, table(ROWS, index=list(range(40)))),
    (mlflow.dialect, text({"dataframe_split": {"data": ROWS, "columns": NAMES[::-1]}})),
    (oip.dialect, tensor(FLAT)),
    (oip.dialect, tensor(FLAT, parameters={"of [ours]": "x"})),
]
UNUSUAL = [
    (native.dialect, text({"inputs": [*ROWS, ROWS[0][:-1]]})),
    (native.dialect, text({"inputs": [*ROWS[:-1], ROWS[0][:-1], [*ROWS[0], 1.5]]})),
    (native.dialect, text({"inputs": [*ROWS, [[1.5], *ROWS[0][1:]]]})),
    (native.dialect, text({"inputs": [*ROWS, [None, *ROWS[0][1:]]]})),
    (native.dialect, text({"inputs": [*ROWS, [True, *ROWS[0][1:]]]})),
    (native.dialect, text({"inputs": [*ROWS, ["1", *ROWS[0][1:]]]})),
    (native.dialect, text({"inputs": [row[:-1] for row in ROWS]})),
    (native.dialect, text({"inputs": [[row] for row in ROWS]})),
    (native.dialect, text({"inputs": FLAT})),
    (native.dialect, text({"inputs": {"a": ROWS}})),
    (native.dialect, text({"inputs": "x" * 9000})),
    (native.dialect, text({"inputs": ROWS, "more": 1})),
    (native.dialect, text({"inputs": ROWS})[:-1]),
    (native.dialect, text({"inputs": ROWS}) + b"x"),
    (native.dialect, text({"inputs": ROWS})[:-2] + b", \xff]}"),
    (native.dialect, b'{"inputs": [[1]], ' + text({"inputs": ROWS})[1:]),
    (native.dialect, b'{"\\u0069nputs": ' + text(ROWS) + b"}"),
    (native.dialect, b"\xef\xbb\xbf" + text({"inputs": ROWS})),
    (native.dialect, text({"inputs": ROWS}).replace(b"[[", b"[[1e400, ", 1)),
    (native.dialect, text({"inputs": ROWS}).replace(b"[[", b"[[NaN, ", 1)),
    (native.dialect, text(ROWS)),
    (kserve.dialect, text({"instances": ROWS, "inputs": ROWS})),
    (mlflow.dialect, text({"dataframe_split": ROWS})),
    (mlflow.dialect, table(ROWS, columns=NAMES[:-1])),
    (mlflow.dialect, table(ROWS, columns=[*NAMES[:-1], "c0"])),
    (mlflow.dialect, table(ROWS, columns=[*NAMES[:-1], "other"])),
    (mlflow.dialect, table(ROWS, columns=[*NAMES[:-1], 29])),
    (mlflow.dialect, table([row[:-1] for row in ROWS])),
    (mlflow.dialect, text({"dataframe_split": {"data": ROWS}})),
    (oip.dialect, tensor(FLAT[:-1])),
    (oip.dialect, tensor([*FLAT[:-1], None])),
    (oip.dialect, tensor([*FLAT[:-1], [1.5]])),
    (oip.dialect, tensor([*FLAT[:-1], "x"])),
    (oip.dialect, tensor(FLAT, datatype="FP32")),
    (oip.dialect, tensor(FLAT, datatype="INT64")),
    (oip.dialect, tensor(FLAT, data=ROWS)),
    (oip.dialect, tensor(FLAT, shape=[-1, COLUMNS])),
    (oip.dialect, tensor(FLAT, shape="x")),
    (oip.dialect, tensor(FLAT, data=[FLAT]).replace(b'"7"', b'"\\u005b"')),
    (oip.dialect, tensor(FLAT, data=[FLAT]).replace(b'"7"', b'"\\u005B"')),
    (mlflow.dialect, table([*ROWS[1:], [ROWS[0]]]).replace(b'"c0"', b'"\\u005b"')),
    (oip.dialect, text({"inputs": [FLAT]})),
    (oip.dialect, text({"inputs": FLAT})),
]


def read(dialect, body, reader):
    """What a body becomes, for comparing: inputs as they travel, or the words of the refusal."""
    request = Request(b"POST", b"/", {b"content-type": b"application/json"}, body)
    reader.ignored = []
    try:
        asked = dialect.read(request, reader)
    except Refusal as refusal:
        return refusal.status, refusal.sentence
    parts = list(map(bytes, asked.inputs.parts))
    wish = getattr(asked.write, "args", None)
    return asked.inputs._replace(parts=parts), wish, list(reader.ignored)


def usually(monkeypatch, dialect, body, reader):
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "WORTH_IT", 1 << 40)
        return read(dialect, body, reader)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(("dialect", "body"), [*QUICK, *UNUSUAL])
def test_a_large_body_means_what_a_small_one_would(monkeypatch, kind, dialect, body):
    assert len(body) > blocks.WORTH_IT
    reader = READERS[kind]
    assert read(dialect, body, reader) == usually(monkeypatch, dialect, body, reader)


@pytest.mark.parametrize(("dialect", "body"), QUICK)
def test_bodies_of_just_numbers_are_read_the_quick_way(monkeypatch, dialect, body):
    reader = READERS["frame"]
    module = {native.dialect: native, kserve.dialect: kserve}.get(dialect)
    module = module or (mlflow if dialect is mlflow.dialect else oip)
    monkeypatch.setattr(module, "read_json", lambda *_, **__: pytest.fail("read as any body is"))
    assert read(dialect, body, reader)[0].rows == len(ROWS)


def test_floats_of_a_large_body_are_exact():
    inputs = read(native.dialect, text({"inputs": ROWS}), READERS["array"])[0]
    assert struct.unpack(f"<{len(FLAT)}d", inputs.parts[0]) == tuple(FLAT)


def test_a_model_of_other_types_is_not_read_the_quick_way():
    reader = Reader("dataframe")
    reader.learn(reader.records([{**dict.fromkeys(NAMES, 0.5), "c3": "text"}]))
    assert not reader.numeric
    assert blocks.rows(text({"inputs": ROWS}), reader, "inputs") is None

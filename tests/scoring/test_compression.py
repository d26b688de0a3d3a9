"""Bodies that come compressed, and answers that go so: over every protocol, and when broken."""

import gzip
import json
import time
import zlib

import pytest

from app.scoring import compression
from app.scoring.errors import Refusal

ECHO = "def predict(model, inputs):\n    return inputs\n"
BODY = json.dumps([1.5] * 3).encode()
MOST = 1 << 20  # as conftest has max_body


def bare(data):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def members(data):
    return gzip.compress(data[:3]) + gzip.compress(b"") + gzip.compress(data[3:])


FORMS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "capitals": ("GZIP", gzip.compress),
    "members": ("gzip", members),
    "padded": ("gzip", lambda data: gzip.compress(data) + bytes(512)),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
    "identity": ("identity", bytes),
}
PATHS = {
    "/score": BODY,
    "/invocations": b'{"inputs": %b}' % BODY,
    "/v1/models/churn:predict": b'{"instances": %b}' % BODY,
    "/v2/models/churn/infer": json.dumps(
        {"inputs": [{"name": "x", "shape": [3], "datatype": "FP64", "data": [1.5] * 3}]}
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", PATHS)
def test_compressed_requests_are_read_by_every_protocol(shared, path, form):
    encoding, pack = FORMS[form]
    answer = shared(ECHO).post(path, pack(PATHS[path]), **{"Content-Encoding": encoding})
    assert answer.status == 200, answer.body
    assert b"1.5" in answer.body


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
@pytest.mark.parametrize("path", PATHS)
def test_other_encodings_are_415(shared, path, encoding):
    answer = shared(ECHO).post(path, gzip.compress(BODY), **{"Content-Encoding": encoding})
    assert answer.status == 415
    assert answer.json


WHOLE = gzip.compress(BODY)
BROKEN = {
    "nothing": ("gzip", b""),
    "not gzip": ("gzip", BODY),
    "truncated": ("gzip", WHOLE[:-1]),
    "truncated checksum": ("gzip", WHOLE[:-8]),
    "wrong checksum": ("gzip", WHOLE[:-8] + bytes(8)),
    "second member truncated": ("gzip", WHOLE + WHOLE[:12]),
    "rubbish behind": ("gzip", WHOLE + b"rubbish"),
    "not deflate": ("deflate", b"\xff" * 20),
    "deflate truncated": ("deflate", zlib.compress(BODY)[:-1]),
    "rubbish behind deflate": ("deflate", bare(BODY) + b"x"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_bodies_are_400(shared, case):
    encoding, body = BROKEN[case]
    answer = shared(ECHO).post("/score", body, **{"Content-Encoding": encoding})
    assert answer.status == 400
    assert "compressed" in answer.json["error"]["what"]


@pytest.mark.parametrize("form", ["gzip", "members", "zlib", "bare"])
def test_a_bomb_is_413_and_not_unpacked(shared, form):
    encoding, pack = FORMS[form]
    bomb = pack(bytes(200 << 20)) if form != "bare" else bare(bytes(200 << 20))
    answer = shared(ECHO).post("/score", bomb, **{"Content-Encoding": encoding})
    assert answer.status == 413
    assert shared(ECHO).score("1") == 1


def test_a_body_of_just_max_body_is_taken():
    data = bytes(MOST)
    assert compression.decompress(gzip.compress(data), b"gzip", MOST) == data
    with pytest.raises(Refusal) as refused:
        compression.decompress(gzip.compress(data + b"x"), b"gzip", MOST)
    assert refused.value.status == 413


def test_endless_tiny_members_are_refused_soon():
    started = time.monotonic()
    with pytest.raises(Refusal):
        compression.decompress(gzip.compress(b"") * 500_000, b"gzip", MOST)
    assert time.monotonic() - started < 10


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("br;q=1.0, GZIP;q=0.8", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("*", "gzip"),
        ("*, gzip;q=0.0", "deflate"),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
        ("", None),
    ],
)
def test_answers_are_compressed_as_accept_encoding_says(shared, accepted, encoding):
    answer = shared(ECHO).post("/score", [LONG], **{"Accept-Encoding": accepted})
    assert answer.headers["Content-Encoding"] == encoding
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding]
    assert json.loads(unpack(answer.body)) == {"predictions": [LONG]}
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_short_answers_are_not_compressed(shared):
    answer = shared(ECHO).post("/score", [1], **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] is None
    assert answer.json == {"predictions": [1]}


@pytest.mark.parametrize("path", PATHS)
def test_every_protocol_compresses_its_answers(shared, path):
    body = json.loads(PATHS[path])
    rows = [0.123456789] * 500
    if path == "/score":
        body = rows
    elif "inputs" in body and path.startswith("/v2"):
        body["inputs"][0].update(shape=[500], data=rows)
    else:
        body = {next(iter(body)): rows}
    answer = shared(ECHO).post(path, body, **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"0.123456789" in gzip.decompress(answer.body)

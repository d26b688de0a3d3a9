"""Joining requests: exact, fair to each, never across kinds."""

import json
import random
import re
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import wait_for

SIZES = """
import time

def predict(model, inputs: {annotation}):
    time.sleep(0.15)
    return [len(inputs)] * len(inputs)
"""
MODEL = """
import numpy as np
from sklearn.ensemble import RandomForestRegressor

def load(artifacts):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 4))
    return RandomForestRegressor(20, random_state=0).fit(rows, rows.sum(axis=1))

def predict(model, inputs: np.ndarray):
    return model.predict(inputs)
"""
POISON = """
import time

def predict(model, inputs):
    time.sleep(0.1)
    if "poison" in inputs:
        raise ValueError("poison")
    if "empty" in inputs:
        return inputs[1:]
    return inputs
"""


def together(front, bodies, path="/score"):
    """Send all at once; their answers in the same order."""
    gate = threading.Barrier(len(bodies))

    def one(body):
        gate.wait()
        return front.post(path, body)

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(one, bodies))


def predictions(answers):
    return [answer.json["predictions"] for answer in answers]


def test_requests_that_wait_are_joined(shared):
    front = shared(SIZES.format(annotation="list"))
    sizes = [size for (size,) in predictions(together(front, [[1]] * 16))]
    assert max(sizes) > 8


def test_batch_null_never_joins(shared):
    front = shared(SIZES.format(annotation="list"), batch=None)
    assert predictions(together(front, [[1]] * 5)) == [[1]] * 5


def test_a_batch_has_at_most_max_rows(shared):
    front = shared(SIZES.format(annotation="list"), batch={"max_rows": 4})
    sizes = [size for rows in predictions(together(front, [[1, 2]] * 12)) for size in rows]
    assert max(sizes) == 4


def test_a_request_larger_than_max_rows_goes_alone(shared):
    front = shared(SIZES.format(annotation="list"), batch={"max_rows": 4})
    assert front.score([0] * 9) == [9] * 9


def test_bytes_are_never_joined(shared):
    front = shared("def predict(model, inputs: bytes):\n    return len(inputs)\n")
    assert predictions(together(front, [b"ab"] * 6)) == [2] * 6


def test_objects_are_never_joined(shared):
    front = shared("def predict(model, inputs):\n    return inputs\n")
    bodies = [{"a": number} for number in range(12)]
    assert predictions(together(front, bodies)) == bodies


def test_batched_and_unbatched_answers_are_equal(shared, science):
    joined = shared(MODEL, python=science)
    bodies = [
        {"inputs": [[(row * column * 7 % 13) / 3 for column in range(4)]] * (row % 3 + 1)}
        for row in range(64)
    ]
    batched = predictions(together(joined, bodies))
    rows = joined.get("/metrics").body.decode()
    assert batched == [joined.score(body) for body in bodies]  # one after the other: not joined
    assert (
        'predict_duration_seconds_count{instance="churn",model="churn",version="1"} 64' not in rows
    )


def test_protocols_share_batches(shared, science):
    front = shared(SIZES.format(annotation='"numpy.ndarray"'), python=science)
    rows = [[1.0, 2.0]]
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}
    gate = threading.Barrier(12)

    def one(number):
        gate.wait()
        if number % 3 == 0:
            return front.score(rows)[0]
        if number % 3 == 1:
            return front.post("/invocations", {"inputs": rows}).json["predictions"][0]
        answer = front.post("/v2/models/churn/infer", {"inputs": [tensor]})
        return answer.json["outputs"][0]["data"][0]

    with ThreadPoolExecutor(12) as threads:
        assert max(threads.map(one, range(12))) > 4


def test_different_columns_are_not_joined(shared, science):
    script = """
import time

def predict(model, inputs: "pandas.DataFrame"):
    time.sleep(0.1)
    return [",".join(inputs.columns) + str(inputs.dtypes.iloc[0])] * len(inputs)
"""
    front = shared(script, python=science)
    bodies = [[{"a": 1}], [{"b": 1}], [{"a": 1.5}]] * 4
    wanted = [["aint64"], ["bint64"], ["afloat64"]] * 4
    assert predictions(together(front, bodies)) == wanted


def test_one_poisoned_request_fails_alone(shared):
    front = shared(POISON)
    bodies = [["poison"] if number == 5 else [number] for number in range(12)]
    answers = together(front, bodies)
    assert [answer.status for answer in answers] == [500 if n == 5 else 200 for n in range(12)]
    assert [a.json["predictions"] for a in answers if a.status == 200] == [
        [n] for n in range(12) if n != 5
    ]


def test_a_wrong_number_of_rows_is_not_mixed_up(shared):
    front = shared(POISON)
    bodies = [["empty", 1] if number == 5 else [number] for number in range(12)]
    wanted = [[1] if number == 5 else [number] for number in range(12)]
    assert predictions(together(front, bodies)) == wanted


def test_several_workers_share_one_queue(serve):
    script = """
import os, time

def predict(model, inputs):
    time.sleep(0.2)
    return os.getpid()
"""
    front = serve(script, workers=3, batch=None)
    assert len(front.admin("GET", "/admin/state").json["workers"]) == 3
    assert len(set(predictions(together(front, [{}] * 6)))) == 3


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_large_rows_go_through(shared, size):
    front = shared("def predict(model, inputs):\n    return inputs\n", max_body=1 << 24)
    text = ["x" * size]
    assert predictions(together(front, [text, text, text])) == [text] * 3


def test_answers_are_never_mixed_up_whatever_happens(serve):
    script = """
import os, time

def predict(model, inputs):
    time.sleep(0.001 * len(inputs))
    kinds = {row["kind"] for row in inputs}
    if "crash" in kinds:
        os._exit(1)
    if "poison" in kinds:
        raise ValueError
    return [row["number"] for row in inputs] + [0] * ("long" in kinds)
"""
    front = serve(script)

    def client(start):
        wrong, connection = [], front.client()
        for number in range(start, start + 60):
            kind = {7: "poison", 13: "crash", 29: "long"}.get(number % 60, "fine")
            rows = [{"kind": kind, "number": number}] * (number % 3 + 1)
            connection.request("POST", "/score", json.dumps(rows))
            answer = connection.getresponse()
            said = json.loads(answer.read())
            wanted = {"predictions": [number] * len(rows) + [0] * (kind == "long")}
            allowed = {"poison": (500, 503), "crash": (500, 503)}.get(kind, (200, 503))
            if answer.status not in allowed or (answer.status == 200 and said != wanted):
                wrong.append((kind, answer.status, said))
            if answer.status == 503:
                time.sleep(0.05)
        connection.close()
        return wrong

    with ThreadPoolExecutor(12) as threads:
        assert [found for found in threads.map(client, range(0, 7200, 600)) if found] == []


def test_a_full_queue_is_503_with_retry_after(serve):
    script = "import time\ndef predict(model, inputs):\n    time.sleep(3)\n"
    front = serve(script, timeout=1.5, batch=None, queue=5)
    clients = [front.client() for _ in range(20)]
    for client in clients:
        client.request("POST", "/score", json.dumps({}))
    answers = [client.getresponse() for client in clients]
    codes = [answer.status for answer in answers]
    assert set(codes) == {503, 504}
    assert codes.count(504) <= 6  # one predicted, five waiting
    for answer in answers:
        if answer.status == 503:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
    for client in clients:
        client.close()


def test_a_full_queue_refuses_before_it_reads_the_body(serve):
    front = serve(
        "import time\ndef predict(model, inputs):\n    time.sleep(3)\n", batch=None, queue=1
    )
    clients = [front.client() for _ in range(2)]
    for client in clients:
        client.request("POST", "/score", "[1]")
    wait_for(lambda: gauge(front, "queue_depth") == 1)
    assert front.post("/score", "no JSON").status == 503
    for client in clients:
        client.close()


def gauge(front, name):
    text = front.get("/metrics").body.decode()
    return float(re.search(rf"^rhythmicml_{name}{{[^}}]*}} (\S+)", text, re.M)[1])


COUNTED = """
import os, time

def predict(model, inputs):
    with open("batches", "a") as file:
        file.write(f"{len(inputs)}\\n")
    time.sleep(0.5 if "slow" in inputs else 0.02)
    if "crash" in inputs:
        os._exit(1)
    if "poison" in inputs:
        raise ValueError("poison")
    return inputs
"""


def crowd(front, bodies, number=1):
    """Send all while every worker is held by a slow one, so that they are joined; the answers."""
    slow = [front.client() for _ in range(number)]
    for client in slow:
        client.request("POST", "/score", '["slow"]')
    answers = together(front, bodies)
    for client in slow:
        assert client.getresponse().status == 200
        client.close()
    return answers


@pytest.mark.parametrize("bad", [(5,), (0, 63), (7, 8, 40)])
def test_the_poisoned_are_found_by_halving(serve, instance, bad):
    front = serve(COUNTED)
    bodies = [["poison"] if number in bad else [number] for number in range(64)]
    answers = crowd(front, bodies)
    assert [answer.status for answer in answers] == [
        500 if number in bad else 200 for number in range(64)
    ]
    assert [a.json["predictions"] for a in answers if a.status == 200] == [
        [number] for number in range(64) if number not in bad
    ]
    counts = (instance.releases / "current" / "files" / "batches").read_text().split()
    assert len(counts) <= 6 + len(bad) * 2 * 7  # one by one it would be more than 64


def test_a_crashing_request_costs_few_workers(serve):
    front = serve(COUNTED)
    answers = crowd(front, [["crash"] if number == 11 else [number] for number in range(32)])
    codes = [answer.status for answer in answers]
    assert codes[11] == 500
    assert all(code in (200, 503) for code in codes[:11] + codes[12:])  # 503: came meanwhile
    wait_for(lambda: front.get("/readyz").status == 200)
    assert gauge(front, "worker_restarts_total") <= 6
    assert front.score([1]) == [1]


def test_what_waited_while_a_culprit_was_searched_is_in_time_or_504(serve):
    script = COUNTED.replace("0.02", "0.3")
    front = serve(script, timeout=1.5)
    answers = crowd(front, [["poison"] if number == 3 else [number] for number in range(32)])
    codes = [answer.status for answer in answers]
    assert codes[3] in (500, 504)
    assert all(code in (200, 504) for code in codes[:3] + codes[4:])
    wait_for(lambda: front.post("/score", [7]).json.get("predictions") == [7])


def test_wait_joins_what_comes_within_it(serve):
    front = serve(
        COUNTED.replace("return inputs", "return [len(inputs)] * len(inputs)"),
        batch={"max_rows": 3, "wait": 0.9},
    )
    started = time.monotonic()
    assert predictions(together(front, [[1]] * 3)) == [[3]] * 3
    full = time.monotonic() - started
    started = time.monotonic()
    assert predictions(together(front, [[1]] * 2)) == [[2]] * 2
    assert time.monotonic() - started >= 0.9
    assert full < 0.9 + 20  # and the next line: a full batch does not wait


def test_a_request_that_cannot_be_joined_does_not_wait(serve):
    front = serve("def predict(m, i):\n    return i\n", batch={"max_rows": 8, "wait": 1})
    front.score({"a": 1})
    started = time.monotonic()
    for _ in range(5):
        front.score({"a": 1})
    assert time.monotonic() - started < 5


EXACT = """
import numpy as np

def predict(model, inputs: np.ndarray):
    rows = inputs.astype("int64")
    return (rows * np.arange(3, 3 + rows.shape[1])).sum(axis=1) % 1000003
"""


def mixed(draw):
    """A request of random rows, width, endpoint: its path and body."""
    rows, width = draw.randint(1, 50), draw.choice((2, 5))
    values = [[draw.randint(-(10**6), 10**6) for _ in range(width)] for _ in range(rows)]
    if draw.random() < 0.3:
        values = [[value + 0.5 for value in row] for row in values]
    kind = draw.randrange(3)
    if kind == 0:
        return "/score", {"inputs": values}
    if kind == 1:
        return "/invocations", {"instances": values}
    flat = [value for row in values for value in row]
    datatype = "INT64" if all(type(value) is int for value in flat) else "FP64"
    tensor = {"name": "x", "shape": [rows, width], "datatype": datatype, "data": flat}
    return "/v2/models/churn/infer", {"inputs": [tensor], "id": "1"}


def ask_all(front, asked, threads):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda one: front.post(*one), asked))


def test_joined_answers_are_those_of_requests_alone_to_the_byte(shared, science):
    draw = random.Random(20261123)
    asked = [mixed(draw) for _ in range(300)]
    joined = shared(EXACT, python=science)
    alone = shared(EXACT, python=science, batch=None)
    before = gauge_sum(joined)
    batched = ask_all(joined, asked, 24)
    assert gauge_sum(joined) - before < len(asked)  # some were joined
    wanted = ask_all(alone, asked, 4)
    assert [one.status for one in wanted] == [200] * len(asked)
    assert [one.body for one in batched] == [one.body for one in wanted]


def gauge_sum(front):
    return gauge(front, "predict_duration_seconds_count")


LINEAR = """
import numpy as np
from sklearn.linear_model import LinearRegression

def load(artifacts):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 4))
    return LinearRegression().fit(rows, rows @ np.arange(1.0, 5.0))

def predict(model, inputs: np.ndarray):
    return model.predict(inputs)
"""


def test_joined_predictions_of_a_linear_model_are_equal_to_the_last_bits(shared, science):
    draw = random.Random(7)
    bodies = [
        [[draw.gauss(0, 1) for _ in range(4)] for _ in range(draw.randint(1, 50))]
        for _ in range(120)
    ]
    asked = [("/score", body) for body in bodies]
    batched = ask_all(shared(LINEAR, python=science), asked, 16)
    alone = ask_all(shared(LINEAR, python=science, batch=None), asked, 1)
    for one, other in zip(predictions(batched), predictions(alone), strict=True):
        assert one == pytest.approx(other, rel=1e-13, abs=1e-13)


SLOW_BY_ROW = """
import time

def predict(model, inputs):
    time.sleep(0.6 if len(inputs) > 8 else 0.02)
    return inputs
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_small_requests_wait_for_one_big_one_and_big_ones_finish(serve, workers):
    front = serve(SLOW_BY_ROW, batch={"max_rows": 8}, workers=workers)
    ended = threading.Event()

    def big(_):
        codes = []
        while not ended.is_set():
            codes.append(front.post("/score", [0] * 9).status)
        return codes

    def small(number):
        waits = []
        for _ in range(6):
            started = time.monotonic()
            assert front.score([number]) == [number]
            waits.append(time.monotonic() - started)
        return waits

    with ThreadPoolExecutor(9) as threads:
        bigs = [threads.submit(big, None) for _ in range(6)]
        wait_for(lambda: gauge(front, "requests_in_progress") >= 4)
        waits = [wait for some in threads.map(small, range(3)) for wait in some]
        ended.set()
        codes = [code for one in bigs for code in one.result()]
    assert sorted(waits)[len(waits) // 2] < 1.2  # one after the other, six big ones take 3.6 s
    assert max(waits) < 3
    assert set(codes) == {200}
    assert len(codes) >= 6


def test_a_request_whose_client_has_gone_is_not_predicted(serve, instance):
    front = serve(COUNTED.replace("{len(inputs)}", "{inputs}"), batch=None)
    slow, gone = front.client(), front.client()
    slow.request("POST", "/score", '["slow"]')
    gone.request("POST", "/score", '["unwanted"]')
    wait_for(lambda: gauge(front, "queue_depth") == 1)
    gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # with a reset; a plain end may be that of a client that still listens
    assert slow.getresponse().status == 200
    slow.close()
    assert front.score([1]) == [1]
    assert "unwanted" not in (instance.releases / "current/files/batches").read_text()
    wait_for(lambda: gauge(front, "requests_in_progress") == 0)

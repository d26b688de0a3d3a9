"""Joining requests: exact, fair to each, never across kinds."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

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
    front = serve(
        "import time\ndef predict(model, inputs):\n    time.sleep(3)\n", timeout=0.4, batch=None
    )
    clients = [front.client() for _ in range(400)]
    for client in clients:
        client.request("POST", "/score", json.dumps({}))
    answers = [client.getresponse() for client in clients]
    codes = {answer.status for answer in answers}
    assert codes == {503, 504}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status == 503)
    for client in clients:
        client.close()

"""Prometheus' text, and what it counts."""

import pytest

from app.scoring.metrics import Metrics, escape

from .conftest import wait_for

ECHO = "def predict(model, inputs):\n    return inputs\n"
BAD = "def predict(model, inputs):\n    return 1 / 0\n"


def test_labels_are_escaped():
    assert escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'


def test_histogram_buckets_add_up():
    metrics = Metrics({"instance": "a"}, {})
    for seconds in (0.0005, 0.003, 200):
        metrics.count("score", 200, seconds)
    text = metrics.render({"worker_restarts": 0}, {"ready": 1}).decode()
    name = 'rhythmicml_request_duration_seconds_bucket{instance="a",endpoint="score",le='
    assert f'{name}"0.001"}} 1' in text
    assert f'{name}"0.005"}} 2' in text
    assert f'{name}"+Inf"}} 3' in text


@pytest.mark.parametrize(
    "name",
    [
        "requests_total",
        "request_duration_seconds_bucket",
        "predict_duration_seconds_bucket",
        "requests_in_progress",
        "queue_depth",
        "worker_restarts_total",
        "validation_errors_total",
        "model_info",
        "ready",
        "batch_rows_bucket",
        "queue_seconds_bucket",
        "connections",
        "front_memory_bytes",
    ],
)
def test_every_metric_is_there(shared, name):
    front = shared(ECHO)
    front.score([1])
    front.post("/score", "{")
    answer = front.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f"\nrhythmicml_{name}{{" in answer.body.decode()


def test_requests_are_counted_by_endpoint_and_code(serve):
    front = serve(BAD)
    for path in ("/nowhere/1", "/nowhere/2", "/score"):
        front.post(path, [1])
    text = front.get("/metrics").body.decode()
    labels = 'instance="churn",model="churn",version="1"'
    assert f'rhythmicml_requests_total{{{labels},endpoint="other",code="404"}} 2' in text
    assert f'rhythmicml_requests_total{{{labels},endpoint="score",code="500"}} 1' in text
    assert "nowhere" not in text


def test_the_sample_is_counted_by_itself(serve):
    front = serve(ECHO, files={"sample.json": b"[1]"}, sample="sample.json")
    text = front.get("/metrics").body.decode()
    assert 'endpoint="sample",code="200"} 1' in text
    assert 'endpoint="other"' not in text


def test_a_failed_request_is_logged_without_its_content(serve):
    front = serve(BAD)
    answer = front.post("/score", ["a secret"], **{"X-Request-Id": "req-42"})
    assert answer.status == 500
    wait_for(lambda: '"request":"req-42"' in front.log)
    assert "secret" not in front.log


def test_every_family_says_what_it_is(shared):
    lines = shared(ECHO).get("/metrics").body.decode().splitlines()
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    assert typed == helped


def test_the_rows_of_a_batch_and_its_wait_are_counted(serve):
    front = serve(ECHO)
    front.score([1, 2, 3])
    text = front.get("/metrics").body.decode()
    labels = 'instance="churn",model="churn",version="1"'
    assert f'rhythmicml_batch_rows_bucket{{{labels},le="2"}} 0' in text
    assert f'rhythmicml_batch_rows_bucket{{{labels},le="4"}} 1' in text
    assert f"rhythmicml_queue_seconds_count{{{labels}}} 1" in text
    assert f"rhythmicml_connections{{{labels}}} 1" in text

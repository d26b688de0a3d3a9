"""What goes wrong with stages: each is named, within its time, and is over when its cause is."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from .conftest import wait_for
from .pipelines import DOUBLE, PLUS, SAMPLE, SUM, Base, Rubbish, ensemble, http, stage

ROW = [[1, 2, 3]]
SLOW = (
    "import time\nimport numpy as np\n\ndef predict(model, inputs: np.ndarray):\n"
    "    time.sleep(inputs[0, 0])\n    return inputs\n"
)
QUICK = [[0.0, 2.0, 3.0]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory, science):
    """Stages that no test harms."""
    made = Base(tmp_path_factory.mktemp("base"), science)
    made.model("slow", SLOW, sample=QUICK, ready=False)
    made.models(forest=SUM, features=DOUBLE)
    made.fronts["slow"].wait_ready()
    yield made
    made.close()


@pytest.fixture
def base(shared):
    """The same, and what a test adds to them is gone with it."""
    before = set(shared.fronts)
    yield shared
    for name in set(shared.fronts) - before:
        shared.forget(name)


@pytest.fixture
def rubbish():
    """Makes servers that speak rubbish, once their pipeline is ready."""
    made = []

    def start(answer, **more):
        made.append(Rubbish(answer, **more))
        return made[-1]

    yield start
    for one in made:
        one.close()


def error(answer):
    return answer.json["error"]


def failed(front, body=ROW):
    """The status and what is said of a request that fails."""
    answer = front.post("/score", body)
    return answer.status, error(answer)["what"], error(answer)["cause"]


# Gone, and there again


def test_a_stage_that_is_gone_is_named_and_the_circuit_opens_and_closes(base):
    base.model("logit", PLUS)
    front = base.pipeline([stage("logit")], sample=None)
    assert front.score(ROW) == [8.0]
    base.stop("logit")
    for _ in range(5):
        assert failed(front) == (502, 'Stage "logit" failed.', "Nothing listens there.")
    status, what, cause = failed(front)
    assert (status, what) == (503, 'Stage "logit" is not asked at the moment.')
    assert cause == "It failed 5 times in a row. Nothing listens there."
    base.start("logit")
    assert failed(front)[0] == 503
    wait_for(lambda: front.post("/score", ROW).status == 200, 7)
    assert front.score(ROW) == [8.0]


def test_an_ensemble_fails_with_a_branch_or_goes_on_with_the_rest(base):
    base.model("logit", PLUS)
    stages = ensemble()
    strict = base.pipeline(stages, "strict")
    stages[2] |= {"optional": True}
    lenient = base.pipeline(stages, "lenient")
    base.stop("logit")
    assert failed(strict)[:2] == (502, 'Stage "logit" failed.')
    answer = lenient.post("/score", ROW)
    assert answer.json == {"predictions": [12.0]}
    assert answer.headers["X-Pipeline"] == "features=1, forest=1"
    assert answer.headers["X-Pipeline-Missing"] == "logit"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: lenient.score(ROW), range(64)))
    assert answers == [[12.0]] * 64


def test_what_depends_on_a_stage_that_was_left_out_says_so(base, rubbish):
    server = rubbish(http(b"{}", 500))
    stages = [
        stage("maybe", instance="x", reach=server.reach, optional=True),
        stage("forest", after=["maybe"]),
    ]
    front = base.pipeline(stages, sample=None)
    status, what, cause = failed(front)
    assert (status, what) == (502, 'Stage "forest" failed.')
    assert cause.startswith('It needs "maybe". Stage "maybe" failed.')


def test_it_waits_for_its_stages_and_says_for_which(base):
    front = base.pipeline([stage("logit"), stage("forest")], ready=False)
    said = wait_for_error(front)
    assert "logit" in said
    assert "Nothing listens there." in said
    assert "forest" not in said
    base.model("logit", DOUBLE)
    front.wait_ready()
    assert front.score(ROW) == [12.0]


def wait_for_error(front):
    """What the private /readyz says while stages are missing, once each was asked."""
    wait_for(front.listens)
    said = []

    def tells():
        said.append(front.admin("GET", "/readyz").json.get("error", ""))
        return "logit" in said[-1] and "not been asked yet" not in said[-1]

    wait_for(tells)
    return said[-1]


def test_stages_that_never_come_end_the_start(base):
    front = base.pipeline([stage("nobody")], ready=False, start_timeout=1.0)
    assert front.process.wait(10) == 1
    assert 'Stage "nobody" is not up. Nothing listens there.' in front.log


# Slow


def test_a_slow_stage_is_named_when_its_own_time_is_over(base):
    front = base.pipeline([stage("slow", timeout=0.3)], sample=QUICK)
    begun = time.monotonic()
    status, what, cause = failed(front, [[1.0, 0, 0]])
    assert (status, what) == (504, 'Stage "slow" failed.')
    assert cause == "It had not answered within 0.3 s."
    assert time.monotonic() - begun < 0.8


def test_all_stages_share_the_time_of_the_pipeline(base):
    stages = [stage("slow"), stage("again", instance="slow")]
    front = base.pipeline(stages, sample=QUICK, timeout=0.8)
    status, what, cause = failed(front, [[0.5, 0, 0]])
    assert (status, what) == (504, 'Stage "again" failed.')
    left = float(cause.removeprefix("It had not answered within ").removesuffix(" s."))
    assert 0.1 <= left <= 0.3
    time.sleep(0.3)
    assert front.score(QUICK) == QUICK


def test_an_optional_stage_leaves_time_for_the_rest(base):
    stages = [
        stage("features"),
        stage("slow", after=["input"], optional=True),
        stage("more", instance="features", after=["features"]),
        stage("either", combine="first", after=["slow", "more"]),
    ]
    front = base.pipeline(stages, sample=QUICK, timeout=1.5)
    answer = front.post("/score", [[3.0, 0, 0]])
    assert answer.json == {"predictions": [[12.0, 0.0, 0.0]]}
    assert answer.headers["X-Pipeline-Missing"] == "slow"


def test_a_client_that_leaves_takes_its_batch_along(base):
    front = base.pipeline([stage("slow")], sample=QUICK, pipeline={"parallel": 1})
    sock = socket.create_connection(("127.0.0.1", front.port))
    sock.sendall(
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n[[20.0, 0, 0]]"[:-1]
    )
    time.sleep(0.3)
    sock.close()
    time.sleep(0.2)
    base.fronts["forest"].score(ROW)
    assert busy(front) == ["idle"]


def busy(front):
    return [one["state"] for one in front.admin("GET", "/admin/state").json["workers"]]


def test_what_is_under_way_is_answered_before_it_ends(base):
    front = base.pipeline([stage("slow"), stage("features")], sample=QUICK)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(front.post, "/score", [[0.5, n, 0]]) for n in range(4)]
        time.sleep(0.3)
        assert front.end() == 0
    assert [one.result().json["predictions"] for one in answers] == [
        [[1.0, 2.0 * n, 0.0]] for n in range(4)
    ]


def test_a_stage_is_switched_and_no_request_of_the_pipeline_fails(base):
    base.model("logit", PLUS)
    front = base.pipeline([stage("features"), stage("logit")])
    answers = []

    def ask(_):
        with closing(front.client()) as client:
            while not over:
                client.request("POST", "/score", b"[[1, 2, 3]]")
                answers.append(client.getresponse().read())

    over = []
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, n) for n in range(4)]
        for source in (SUM, PLUS):
            base.model("logit", source)
        over.append(True)
    assert not any(one.exception() for one in asking)
    assert set(answers) == {b'{"predictions":[14.0]}', b'{"predictions":[12.0]}'}
    assert len(answers) > 100


# Rubbish


def hang_up(request, sock):
    sock.shutdown(socket.SHUT_RDWR)


def short(request, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
    sock.shutdown(socket.SHUT_RDWR)


BINARY = (
    b'{"outputs":[{"name":"predict","shape":[1],"datatype":"FP64",'
    b'"parameters":{"binary_data_size":%d}}]}'
)


def binary(size, data):
    text = BINARY % size
    header = f"Inference-Header-Content-Length: {len(text)}\r\n"
    return http(text + data, 200, f"Content-Type: application/octet-stream\r\n{header}")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (hang_up, "It closed the connection before it had answered."),
        (short, "It closed the connection before it had answered."),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "Its answer is not HTTP."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Its answer is not HTTP."),
        (http(b"<html>It works!</html>"), "Its answer cannot be read: JSON is malformed"),
        (http(b"[1]"), "Its answer cannot be read: Expected `object`"),
        (http(b'{"predictions": [1, 2]}'), "It was given 1 rows and gave 2."),
        (binary(9, b"123456789"), 'The data of "predict" does not fill its shape.'),
        (binary(80, b"12345678"), "is more than the body has."),
        (binary(8, b"123456789"), "The body has more bytes than its binary inputs take."),
        (http(b"{}", 500), "It answered with the status 500."),
        (http(b'{"error": "It broke."}', 418), "It broke."),
        (http(b'{"error": {"what": "No.", "cause": "Why."}}', 404), "No. Why."),
    ],
)
def test_rubbish_is_said_to_be_that(base, rubbish, answer, cause):
    server = rubbish(answer)
    front = base.pipeline([stage("odd", instance="x", reach=server.reach)], sample=None)
    status, what, why = failed(front)
    assert (status, what) == (502, 'Stage "odd" failed.')
    assert cause in why
    assert front.get("/readyz").status == 200


def test_an_overloaded_stage_is_named(base, rubbish):
    server = rubbish(http(b'{"error": "Too many requests are waiting."}', 503))
    front = base.pipeline([stage("odd", instance="x", reach=server.reach)], sample=None)
    for _ in range(7):
        answer = front.post("/score", ROW)
        assert answer.status == 503
        assert error(answer)["cause"] == "Too many requests are waiting."
        assert answer.headers["Retry-After"]


def test_only_idempotent_stages_are_asked_again(base, rubbish):
    servers = [rubbish(hang_up), rubbish(hang_up)]
    for server, idempotent in zip(servers, (True, False), strict=True):
        one = stage("odd", instance="x", reach=server.reach, idempotent=idempotent)
        assert failed(base.pipeline([one], sample=None))[0] == 502
    assert [server.asked for server in servers] == [2, 1]


def test_another_version_than_the_pinned_one_is_refused(base, rubbish):
    base.model("logit", PLUS)
    front = base.pipeline([stage("logit", version=1)])
    assert front.score(ROW) == [8.0]
    base.model("logit", SUM)
    assert failed(front) == (
        *(502, 'Stage "logit" failed.'),
        "It is pinned to version 1, but version 2 answered.",
    )


def test_a_stage_may_change_its_schema(base):
    """The first answer of another release is understood, and the next request made for it."""
    base.model("logit", PLUS)
    front = base.pipeline([stage("logit")], sample=None)
    assert front.score(ROW) == [8.0]
    frame = (
        "import pandas as pd\n\ndef predict(model, inputs: pd.DataFrame):\n"
        "    return pd.DataFrame({'sum': inputs.sum(axis=1), 'label': 'x'})\n"
    )
    base.model("logit", frame, sample=SAMPLE)
    wanted = [{"sum": 6.0, "label": "x"}]
    assert front.score(ROW) == wanted
    assert front.score(ROW) == wanted
    assert front.post("/score", ROW).headers["X-Pipeline"] == "logit=2"


def test_a_circle_is_refused_at_once(base):
    """One that exists only once all are up: a follows b, then b is switched to ask a."""
    base.model("b", SUM.replace("inputs.sum(axis=1)", "inputs"))
    a = base.pipeline([stage("b")], "a")
    base.pipeline([stage("a")], "b")
    begun = time.monotonic()
    answer = a.post("/score", ROW)
    assert answer.status == 508
    assert 'Pipelines ask each other in a circle: "a" has come round.' in error(answer)["cause"]
    assert time.monotonic() - begun < 1


# Large


def test_ten_megabytes_pass_without_keeping_others_waiting(base):
    values = 1_300_000
    rows = [[1.0] * 1300] * (values // 1300)
    base.model("wide", DOUBLE, sample=rows[:1], max_body=1 << 25, max_request_rows=100_000)
    stages = [
        stage("one", instance="wide"),
        stage("two", instance="wide", after=["input"]),
        stage("mean", combine="mean", after=["one", "two"]),
    ]
    front = base.pipeline(stages, sample=rows[:1], max_body=1 << 25)
    with ThreadPoolExecutor(1) as pool, closing(front.client()) as client:
        answer = pool.submit(front.score, rows)
        slowest = 0.0
        while not answer.done():
            begun = time.perf_counter()
            client.request("GET", "/livez")
            client.getresponse().read()
            slowest = max(slowest, time.perf_counter() - begun)
            time.sleep(0.005)
        assert answer.result() == [[2.0] * 1300] * len(rows)
    assert slowest < 0.5
    print(f"slowest probe: {slowest * 1000:.0f} ms")

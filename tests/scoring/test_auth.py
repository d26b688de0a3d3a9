"""Tokens: who may ask what, rotation, guessing, and how long looking one up takes."""

import json
import socket
import statistics
import threading
import time
from hashlib import sha256

import pytest

from app.scoring.auth import Failures, Tokens, parse

from .conftest import read_all, wait_for

ECHO = """
import time

def predict(model, inputs):
    if isinstance(inputs, dict):
        time.sleep(inputs.get("sleep", 0))
    return inputs
"""
SCORE = "rml_" + "s" * 43
ADMIN = "rml_" + "a" * 43
NEW = "rml_" + "n" * 43
PROBES = ["/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"]


def tokens(**scopes):
    """A tokens file: the text of each token by its name and scope, as name_scope."""
    said = [
        {
            "name": name.partition("_")[0],
            "scope": name.partition("_")[2],
            "sha256": sha256(text.encode()).hexdigest(),
            "created": "2026-11-23T10:00:00Z",
        }
        for name, text in scopes.items()
    ]
    return json.dumps({"format": 1, "tokens": said})


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def guarded(serve, instance):
    (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE, ops_admin=ADMIN))
    return serve(ECHO, access_log="all")


def test_without_tokens_anybody_on_the_host_may_ask(serve):
    front = serve(ECHO)
    assert front.score([1]) == [1]
    assert front.get("/metrics").status == 200


def test_scoring_needs_a_token_and_probes_need_none(guarded):
    for path in [*PROBES, "/v2/models/churn/ready"]:
        assert guarded.get(path).status == 200
    for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
        for path in ("/score", "/metrics", "/v2", "/nowhere", "/v2/models/churn"):
            answer = guarded.call(method, path)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert guarded.post("/score", [1], **bearer(SCORE)).json == {"predictions": [1]}
    assert guarded.get("/v2", **bearer(SCORE)).status == 200
    assert guarded.get("/nowhere", **bearer(SCORE)).status == 404


@pytest.mark.parametrize(
    "path", ["/metrics", "/%6detrics", "/metrics/", "http://x/metrics?a=/ping"]
)
def test_metrics_need_scope_admin_however_they_are_written(guarded, path):
    assert guarded.get(path, **bearer(SCORE)).status == 403
    assert guarded.get(path, **bearer(ADMIN)).status == 200
    assert guarded.get(path).status == 401


def test_a_token_for_admin_may_score(guarded):
    assert guarded.post("/score", [1], **bearer(ADMIN)).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer rml_",
        f"Bearer {SCORE}x",
        f"Bearer {SCORE[:-1]}",
        f"Basic {SCORE}",
        SCORE,
        f"Bearer {SCORE}, Bearer {SCORE}",
        f"Bearer {sha256(SCORE.encode()).hexdigest()}",
    ],
)
def test_what_is_not_a_token_is_refused(guarded, value):
    answer = guarded.post("/score", [1], Authorization=value)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_the_scheme_may_be_written_in_any_case(guarded):
    assert guarded.post("/score", [1], Authorization=f"bEARER {SCORE}").status == 200


def test_two_authorizations_are_one_too_many(guarded):
    head = b"GET /v2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n" % SCORE.encode()
    received = guarded.raw(head + b"Authorization: Bearer other\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("path", "key"),
    [("/score", "what"), ("/invocations", "message"), ("/v2/models/churn/infer", "error")],
)
def test_refusals_have_the_shape_of_their_protocol(guarded, path, key):
    answer = guarded.post(path, [1])
    said = answer.json["error"] if key == "what" else answer.json
    assert "token" in said[key]


def test_an_unknown_client_cannot_make_us_receive_its_body(guarded):
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as sock:
        sock.sendall(head)  # and nothing of the body
        received = read_all(sock)
    assert received.startswith(b"HTTP/1.1 401")
    assert b"Connection: close" in received


def test_head_is_refused_without_a_body(guarded):
    received = guarded.raw(b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 401")
    assert received.endswith(b"\r\n\r\n")


def test_a_token_counts_for_its_own_request_only(guarded):
    allowed = b"GET /v2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % SCORE.encode()
    received = guarded.raw(allowed + b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401"]


def test_a_trailer_is_no_header(guarded):
    body = b"3\r\n[1]\r\n0\r\nAuthorization: Bearer %b\r\n\r\n" % SCORE.encode()
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert guarded.raw(head + body).startswith(b"HTTP/1.1 401")


def test_the_private_socket_needs_no_token(guarded):
    assert guarded.admin("POST", "/score", "[1]").json == {"predictions": [1]}
    assert guarded.admin("GET", "/metrics").status == 200


def test_tokens_are_never_written_down(guarded):
    guarded.post("/score", [1], **bearer(SCORE))
    guarded.post("/score", [1], **bearer("rml_wrong"))
    wait_for(lambda: '"status":401' in guarded.log)
    assert '"token":"ci"' in guarded.log
    for secret in (SCORE, "rml_wrong", sha256(SCORE.encode()).hexdigest()):
        assert secret not in guarded.log
    assert SCORE not in guarded.admin("GET", "/admin/state").body.decode()


# Rotation


def test_an_old_token_ends_with_the_order_even_on_a_connection_that_used_it(guarded):
    client = guarded.client()
    client.request("POST", "/score", "[1]", bearer(SCORE))
    assert client.getresponse().read() == b'{"predictions":[1]}'
    assert guarded.admin("POST", "/admin/tokens", tokens(ci_score=NEW)).status == 200
    client.request("POST", "/score", "[1]", bearer(SCORE))
    answer = client.getresponse()
    assert (answer.status, answer.read()[:10]) == (401, b'{"error":{')
    client.close()
    assert guarded.post("/score", [1], **bearer(NEW)).status == 200


def test_a_rotation_under_load_fails_no_request(guarded):
    statuses, rotated, done = [], threading.Event(), threading.Event()

    def ask():
        while not done.is_set():
            text = NEW if rotated.is_set() else SCORE
            statuses.append(guarded.post("/score", {"sleep": 0.01}, **bearer(text)).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(statuses) > 20)
    guarded.admin("POST", "/admin/tokens", tokens(ci_score=SCORE, next_score=NEW))
    rotated.set()
    so_far = len(statuses)
    wait_for(lambda: len(statuses) > so_far + 20)
    guarded.admin("POST", "/admin/tokens", tokens(next_score=NEW))
    so_far = len(statuses)
    wait_for(lambda: len(statuses) > so_far + 20)
    done.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}


def test_a_request_that_was_admitted_is_answered_though_its_token_ends(guarded):
    client = guarded.client()
    client.request("POST", "/score", '{"sleep": 0.5}', bearer(SCORE))
    wait_for(lambda: guarded.admin("GET", "/admin/state").json["workers"][0]["state"] == "busy")
    guarded.admin("POST", "/admin/tokens", tokens(ci_score=NEW))
    assert client.getresponse().status == 200
    client.close()


def test_tokens_may_be_given_to_and_taken_from_a_running_front(serve):
    front = serve(ECHO)
    assert front.score([1]) == [1]
    front.admin("POST", "/admin/tokens", tokens(ci_score=SCORE))
    assert front.post("/score", [1]).status == 401
    front.admin("POST", "/admin/tokens", tokens())
    assert front.score([1]) == [1]


BAD = [
    "",
    "[]",
    "{}",
    '{"format": 2, "tokens": []}',
    '{"format": 1, "tokens": [{"name": "a", "scope": "root", "sha256": "' + "0" * 64 + '"}]}',
    '{"format": 1, "tokens": [{"name": "a", "scope": "score", "sha256": "xyz"}]}',
    '{"format": 1, "tokens": [{"name": "a", "scope": "score", "sha256": "00"}]}',
    '{"format": 1, "tokens": 5}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", BAD)
def test_a_set_that_cannot_be_read_changes_nothing(guarded, text):
    assert guarded.admin("POST", "/admin/tokens", text).status == 400
    assert guarded.post("/score", [1], **bearer(SCORE)).status == 200


def test_a_broken_file_opens_no_door(serve, instance):
    (instance.folder / "tokens.json").write_text("{")
    front = serve(ECHO, ready=False)
    assert front.process.wait(20) == 1
    assert "The tokens are not as they should be." in front.log
    assert "Traceback" not in front.log


def test_what_systemd_hands_over_comes_first(serve, instance, tmp_path):
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / "tokens.json").write_text(tokens(ci_score=NEW))
    (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE))
    front = serve(ECHO, environment={"CREDENTIALS_DIRECTORY": str(handed)})
    assert front.post("/score", [1], **bearer(SCORE)).status == 401
    assert front.post("/score", [1], **bearer(NEW)).status == 200


# Guessing


def test_guessing_is_stopped_and_a_valid_token_is_not(guarded):
    answers = [guarded.post("/score", [1], **bearer(f"rml_{guess}")) for guess in range(15)]
    assert [answer.status for answer in answers] == [401] * 10 + [429] * 5
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert guarded.post("/score", [1], **bearer(SCORE)).status == 200
    assert guarded.get("/livez").status == 200


def test_a_missing_token_is_no_guess(guarded):
    assert {guarded.post("/score", [1]).status for _ in range(15)} == {401}


def test_a_peer_may_be_wrong_again_after_a_minute():
    failures = Failures()
    waits = [failures.add("10.0.0.1", now) for now in range(12)]
    assert waits == [0.0] * 10 + [50.0, 49.0]
    assert failures.add("10.0.0.2", 12) == 0.0
    assert failures.add("10.0.0.1", 60) == 0.0


def test_guesses_from_everywhere_do_not_fill_our_memory():
    failures = Failures()
    for number in range(20_000):
        failures.add(str(number), 0.0)
    assert len(failures._peers) <= 4096


# Time


def test_how_much_of_a_guess_is_right_does_not_show_in_the_time():
    known = Tokens(parse(tokens(ci_score=SCORE, ops_admin=ADMIN).encode()))
    near, far = SCORE[:-1].encode() + b"x", b"q" * len(SCORE)
    times = {near: [], far: []}
    for number in range(20_000):
        guess = (near, far)[number % 2]
        started = time.perf_counter_ns()
        known.find(guess)
        times[guess].append(time.perf_counter_ns() - started)
    assert abs(statistics.median(times[near]) - statistics.median(times[far])) <= 5000


def test_every_token_is_looked_at():
    texts = {f"t{number}_score": f"rml_{number}" for number in range(5)}
    known = Tokens(parse(tokens(**texts).encode()))
    for name, text in texts.items():
        found = known.find(text.encode())
        assert found is not None
        assert found.name == name.partition("_")[0]
    assert known.find(b"rml_5") is None

"""Pages of other origins: which may call, and what a browser is told."""

import pytest

from .test_auth import SCORE, bearer, tokens

ECHO = "def predict(model, inputs):\n    return inputs\n"
PAGE = "https://app.example"


def preflight(front, origin=PAGE, path="/score"):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return front.call("OPTIONS", path, None, headers)


@pytest.fixture
def open_to_page(serve):
    return serve(ECHO, cors=[PAGE, "http://127.0.0.1:5173"])


def test_without_origins_nothing_is_said_and_options_is_no_method(serve):
    front = serve(ECHO)
    for answer in (preflight(front), front.post("/score", [1], Origin=PAGE)):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "Vary" not in answer.headers
    assert preflight(front).status == 405


def test_a_listed_page_may_ask_and_read(open_to_page):
    asked = preflight(open_to_page)
    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    allowed = asked.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "content-type", "x-request-id", "prefer", "traceparent"):
        assert name in allowed
    assert "content-encoding" in allowed
    assert int(asked.headers["Access-Control-Max-Age"]) > 0
    assert "Content-Length" not in asked.headers
    answer = open_to_page.post("/score", [1], Origin=PAGE)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["X-Release"]
    shown = answer.headers["Access-Control-Expose-Headers"]
    for name in ("X-Release", "X-Ignored-Columns", "Location", "traceparent"):
        assert name in shown


@pytest.mark.parametrize("origin", ["https://evil.example", PAGE + ".evil", "null", PAGE + ":444"])
def test_other_pages_may_not(open_to_page, origin):
    for answer in (
        preflight(open_to_page, origin),
        open_to_page.post("/score", [1], Origin=origin),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


def test_errors_can_be_read_by_the_page_too(open_to_page):
    for path, status in (("/score", 400), ("/nowhere", 404)):
        answer = open_to_page.post(path, "{", Origin=PAGE)
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_a_star_allows_all(serve):
    front = serve(ECHO, cors=["*"])
    assert preflight(front, "https://any.example").headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in front.post("/score", [1]).headers


def test_a_preflight_carries_no_token_but_what_follows_must(serve, instance):
    (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE))
    front = serve(ECHO, cors=[PAGE])
    assert preflight(front).status == 204
    assert preflight(front, "https://evil.example").status == 401
    refused = front.post("/score", [1], Origin=PAGE)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
    assert front.post("/score", [1], Origin=PAGE, **bearer(SCORE)).status == 200


def test_a_preflight_on_an_unknown_address_is_404(open_to_page):
    assert preflight(open_to_page, path="/nowhere").status == 404

"""Stages on other hosts: their certificate and token; and what is odd about one's own host."""

import json

import pytest

from .conftest import wait_for
from .pipelines import FRAME, PLUS, SUM, Base, ensemble, stage
from .test_auth import SCORE, tokens
from .test_pipeline_faults import wait_for_error
from .test_tls import certificate, write

ROW = [[1, 2, 3]]
DIES = (
    FRAME + "    import os\n    if inputs['forest'].max() > 1000:\n        os._exit(7)\n"
    "    return inputs['forest']\n"
)


@pytest.fixture
def base(tmp_path, science):
    made = Base(tmp_path / "base", science)
    yield made
    made.close()


@pytest.fixture
def far(base):
    """A model with a token and a certificate, the latter as PEM."""
    pair = certificate("far")
    folder = base.folder / "instances" / "logit"
    folder.mkdir(parents=True)
    write(folder / "tls", pair)
    (folder / "tokens.json").write_text(tokens(credit_score=SCORE))
    return base.model("logit", SUM, expose="public"), pair[0]


def asking(base, front, pem, token=SCORE, name="credit"):
    """A pipeline that asks it by its address."""
    secrets = base.folder / "instances" / name
    secrets.mkdir(exist_ok=True)
    (secrets / "secrets.json").write_text(json.dumps({"STAGE_LOGIT": token}))
    reach = {
        "url": f"https://127.0.0.1:{front.port}",
        "token": "STAGE_LOGIT",
        "certificate": pem,
    }
    return base.pipeline(
        [stage("logit", reach=reach)], name, sample=None, secrets=["STAGE_LOGIT"], ready=False
    )


def test_a_stage_under_tls_is_asked_with_its_token(base, far):
    front = asking(base, *far).wait_ready()
    answer = front.post("/score", ROW)
    assert (answer.json["predictions"], answer.headers["X-Pipeline"]) == ([6.0], "logit=1")


@pytest.mark.parametrize("wrong", ["certificate", "token"])
def test_a_stage_that_is_not_who_it_was_is_named(base, far, wrong):
    front, pem = far
    if wrong == "certificate":
        asked = asking(base, front, certificate("far")[0])
    else:
        asked = asking(base, front, pem, token="rml_" + "x" * 43)
    said = wait_for_error(asked)
    assert 'Stage "logit"' in said, said
    assert {"certificate": "CERTIFICATE_VERIFY_FAILED", "token": "token"}[wrong] in said, said
    assert SCORE not in said + asked.log


def test_a_token_that_is_revoked_ends_the_answers_with_its_name(base, far):
    front, pem = far
    asked = asking(base, front, pem).wait_ready()
    assert asked.score(ROW) == [6.0]
    others = tokens(other_score="rml_" + "o" * 43)
    assert front.admin("POST", "/admin/tokens", others).status == 200
    answer = asked.post("/score", ROW)
    assert answer.status == 502
    assert 'Stage "logit"' in answer.json["error"]["what"]
    assert SCORE not in answer.body.decode()


def test_a_path_that_the_kernel_does_not_take_is_no_hindrance(tmp_path, science):
    made = Base(tmp_path / ("long" * 20) / ("longer" * 15), science)
    try:
        made.model("logit", PLUS)
        assert len(str(made.folder / "ask" / "logit.sock")) > 107
        assert made.pipeline([stage("logit")], sample=None).score(ROW) == [8.0]
    finally:
        made.close()


def test_a_combining_script_that_dies_is_started_again(base):
    base.models(features=SUM.replace(".sum(axis=1)", ""), forest=SUM, logit=PLUS)
    front = base.pipeline(ensemble(combine="script"), script=DIES)
    assert front.score(ROW) == [6.0]
    answer = front.post("/score", [[1000, 1, 1]])
    assert answer.status in (500, 502, 503)
    assert 'Stage "blend"' in answer.json["error"]["what"]
    wait_for(lambda: front.post("/score", ROW).status == 200, 20)
    assert front.score(ROW) == [6.0]

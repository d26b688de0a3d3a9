"""Secrets in a plan: what the host lacks is put there, and no words show a value."""

import json
from dataclasses import replace

import pytest
from test_plan import AS_WANTED, EMPTY, MANIFEST, WANTED

from app.deployer import units
from app.deployer.agent import credentials
from app.deployer.agent.layout import Instance
from app.deployer.plan import plan
from app.deployer.secrets import Known, digest
from app.errors import Problem
from app.services import tokens

SALT = "5a17"
CONFIDED = replace(
    WANTED,
    manifest={**MANIFEST, "scoring": {**MANIFEST["scoring"], "secrets": ["KEY"]}},
    secrets={"KEY": "s3cret", "OTHER": "not named"},
)
UNITS = units.render(units.Unit("churn", "/var/lib/rhythmicml", 8101, True, secrets=True))


def having(value, **more):
    known = Known(SALT, {"KEY": digest(SALT, value)}, **more)
    return replace(AS_WANTED, units=UNITS, secrets=known)


def test_missing_value_is_put_there_before_anything_starts():
    steps = plan(CONFIDED, EMPTY)
    done = [step.do for step in steps]
    assert done.index("secrets") < done.index("listen") < done.index("start")
    step = steps[done.index("secrets")]
    assert step.words == "Put 1 secret there"
    assert json.loads(step.payload) == {"KEY": "s3cret"}
    assert "s3cret" not in repr(steps) + repr(CONFIDED)


def test_same_value_is_nothing_to_do():
    assert plan(CONFIDED, having("s3cret")) == []


def test_a_token_is_known_by_the_hash_that_its_stage_has(tmp_path):
    instance = Instance(tmp_path, "credit")
    instance.secrets_file.parent.mkdir(parents=True)
    instance.secrets_file.write_text('{"STAGE_FAR_TOKEN": "rml_text"}')
    known = Known(**credentials.facts(instance, []))
    taken, other = (tokens.entry("a", "score", text)["sha256"] for text in ("rml_text", "rml_old"))
    assert known.has_token("STAGE_FAR_TOKEN", taken)
    assert not known.has_token("STAGE_FAR_TOKEN", other)
    assert not known.has_token("STAGE_NEAR_TOKEN", taken)
    assert not known.has_token("STAGE_FAR_TOKEN", ""), "one that only has its grace left"


def test_changed_value_is_put_there_and_what_runs_is_restarted():
    assert [step.do for step in plan(CONFIDED, having("old"))] == ["secrets", "restart"]


def test_value_that_only_goes_restarts_nothing():
    there = {name: digest(SALT, value) for name, value in (("KEY", "s3cret"), ("OLD", "gone"))}
    [step] = plan(CONFIDED, replace(having("s3cret"), secrets=Known(SALT, there)))
    assert (step.words, step.args["keep"]) == ("Remove 1 secret that no release names", ["KEY"])


def test_front_older_than_its_secrets_is_restarted():
    assert [step.do for step in plan(CONFIDED, having("s3cret", stale=True))] == ["restart"]


def test_value_that_only_the_host_has_will_do():
    assert plan(replace(CONFIDED, secrets={}), having("s3cret")) == []


def test_value_that_nobody_has_is_refused():
    with pytest.raises(Problem) as caught:
        plan(replace(CONFIDED, secrets={}), EMPTY)
    assert "needs 1 secret without a value: KEY" in caught.value.what
    assert caught.value.remedy == "rhythmicml secret set churn KEY"


def test_names_that_releases_there_use_stay():
    others = ({"id": "v1", "secrets": ["OLD"], "created": ""},)
    step = plan(CONFIDED, replace(having("old"), releases=others))[0]
    assert step.args["keep"] == ["KEY", "OLD"]


def test_only_a_service_with_secrets_is_given_them():
    text = UNITS["rhythmicml-churn@.service"]
    assert "LoadCredential=secrets.json:/var/lib/rhythmicml/instances/churn/secrets.json" in text
    assert "secrets.json" not in "".join(AS_WANTED.units.values())

"""Secrets in a plan: what the host lacks is put there, and no words show a value."""

import json
from dataclasses import replace

import pytest
from test_plan import AS_WANTED, EMPTY, MANIFEST, WANTED

from app.deployer import units
from app.deployer.plan import plan
from app.deployer.secrets import Known, digest
from app.errors import Problem

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

"""Where a deployment goes when nobody says where."""

import pytest

from app.errors import Problem
from app.models import Instance, Location
from app.services import places
from app.workspace import Workspace


@pytest.fixture
def work(tmp_path):
    work = Workspace(tmp_path)
    with work.open_store() as store:
        for name in ("prod", "lab"):
            store.locations.add(Location(name, url=f"ssh://ana@{name}"))
        store.models.add("churn", "/nowhere")
    return work


def deployed_to(work, *names):
    with work.open_store() as store:
        for name in names:
            store.instances.upsert(Instance("churn", name))


def going_to(work, configured=None, to=None):
    return places.location_for(work, "churn", configured, to).name


def test_deployed_nowhere_it_goes_to_the_default(work):
    assert going_to(work) == "local"


def test_deployed_somewhere_it_stays_there(work):
    deployed_to(work, "prod")
    assert going_to(work) == "prod"
    assert going_to(work, configured="lab") == "lab"
    assert going_to(work, configured="lab", to="local") == "local"


def test_hints_name_the_place_where_there_are_several(work):
    deployed_to(work, "prod")
    assert places.said_with(work, "churn", "prod") == ""
    deployed_to(work, "lab")
    assert places.said_with(work, "churn", "prod") == " --to prod"


def test_deployed_to_several_it_has_to_be_said_where(work):
    deployed_to(work, "local", "prod")
    with pytest.raises(Problem, match="several locations") as caught:
        going_to(work)
    assert caught.value.remedy == "Say which with --to LOCATION."
    assert going_to(work, to="prod") == "prod"

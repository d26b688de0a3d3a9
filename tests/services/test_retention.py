import pytest

from app.errors import Problem
from app.services import models, retention, versions
from app.workspace import Workspace

PREDICT = "def predict(model, inputs):\n    return inputs\n"


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


def committed(work, folder, said=""):
    """A version whose rhythmicml.toml has this under [deploy], with its store open no more."""
    folder.mkdir(exist_ok=True)
    toml = f'[model]\nname = "churn"\n[dependencies]\npython = "3.11"\n[deploy]\n{said}\n'
    for name, text in (
        ("rhythmicml.toml", toml),
        ("predict.py", PREDICT),
        ("requirements.txt", ""),
    ):
        (folder / name).write_text(text)
    models.add(work, folder)
    return versions.commit(work, "churn").version


def kept(work, version):
    with work.open_store() as store:
        there = {
            "model": "churn",
            "digest": version.digest,
            "origin": {"configuration": version.configuration.as_dict()},
        }
        both = {retention.of(store, version), retention.of_release(store, there)}
    assert len(both) == 1, "a switch keeps as many as a deploy"
    return both.pop()


def test_a_silent_model_follows_the_setting(work, tmp_path):
    version = committed(work, tmp_path / "churn")
    assert kept(work, version) == 5
    for count in (2, 12):
        retention.set_default(work, count)
        assert kept(work, version) == count


@pytest.mark.parametrize("own", [5, 1, 9])
def test_what_a_model_says_wins(work, tmp_path, own):
    version = committed(work, tmp_path / "churn", f"keep = {own}")
    for count in (2, 12):
        retention.set_default(work, count)
        assert kept(work, version) == own


def test_a_release_of_a_version_that_is_not_here_loses_no_way_back(work):
    with work.open_store() as store:
        for said, setting, stay in ((5, 2, 5), (5, 12, 12), (3, 12, 3), (9, 2, 9)):
            store.settings.set("keep", setting)
            there = {"model": "gone", "digest": "d", "origin": {"configuration": {"keep": said}}}
            assert retention.of_release(store, there) == stay
        assert retention.of_release(store, {"model": "gone", "digest": "d"}) == 5


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_number_that_is_none_changes_nothing(work, count):
    retention.set_default(work, 7)
    with pytest.raises(Problem, match="no number of releases"):
        retention.set_default(work, count)
    with work.open_store() as store:
        assert retention.default(store) == 7

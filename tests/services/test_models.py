import json
import shutil

import pytest

from app import config
from app.errors import NotFound, Problem
from app.models import Instance
from app.services import catalogue, models
from app.services.models import slug
from app.workspace import Workspace


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


def folder(place, name, toml=""):
    made = place / name
    made.mkdir(parents=True)
    if toml:
        (made / "rhythmicml.toml").write_text(toml)
    return made


def names(work):
    return [row["name"] for row in catalogue.overview(work)]


def test_init_writes_what_is_not_there_and_leaves_the_rest(tmp_path):
    mine = folder(tmp_path, "Churn 2026")
    (mine / "predict.py").write_text("mine")
    made = models.init(mine)
    assert made.name == "churn-2026"
    assert set(made.written) == {
        "requirements.txt",
        "rhythmicml.toml",
        ".rhythmicmlignore",
        "sample.json",
    }
    assert (mine / "predict.py").read_text() == "mine"
    assert models.init(mine).written == ()


def test_what_init_writes_predicts_its_own_sample(tmp_path):
    models.init(tmp_path / "new" / "model", name="churn")
    script = {}
    exec((tmp_path / "new" / "model" / "predict.py").read_text(), script)  # noqa: S102
    sample = json.loads((tmp_path / "new" / "model" / "sample.json").read_text())
    assert script["predict"](script["load"](None), sample) == [6.0]


def test_init_where_nothing_can_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be written"):
        models.init(tmp_path / "file" / "model")


def test_a_model_is_called_as_asked_else_as_configured_else_as_its_folder(work, tmp_path):
    configured = '[model]\nname = "configured"'
    assert models.add(work, folder(tmp_path, "a", configured), name="asked").name == "asked"
    assert models.add(work, folder(tmp_path, "b", configured)).name == "configured"
    assert models.add(work, folder(tmp_path, "Mein Modell, ä!")).name == "mein-modell-a"
    assert names(work) == ["asked", "configured", "mein-modell-a"]


def test_a_derived_name_gets_a_number_an_asked_one_a_problem(work, tmp_path):
    names = [models.add(work, folder(tmp_path / place, "churn")).name for place in "abc"]
    assert names == ["churn", "churn-2", "churn-3"]
    with pytest.raises(Problem, match='"churn" is there already'):
        models.add(work, folder(tmp_path / "d", "churn"), name="churn")
    long = "x" * 48
    names = [models.add(work, folder(tmp_path / place, long)).name for place in "ef"]
    assert names == [long, "x" * 46 + "-2"]


def test_the_same_folder_is_tracked_once(work, tmp_path):
    first = models.add(work, folder(tmp_path, "churn"))
    (tmp_path / "link").symlink_to("churn")
    for path in (tmp_path / "churn", tmp_path / "link", tmp_path / "x" / ".." / "churn"):
        again = models.add(work, path)
        assert (again.new, again.model) == (False, first.model)


def test_a_model_whose_folder_moved_is_found_again_by_its_name(work, tmp_path):
    model = models.add(work, folder(tmp_path, "churn")).model
    (tmp_path / "churn").rename(tmp_path / "moved")
    (tmp_path / "moved" / "rhythmicml.toml").write_text('[model]\nname = "churn"')
    with pytest.raises(Problem, match='may be the model "churn"') as raised:
        models.add(work, tmp_path / "moved")
    assert f"rhythmicml add {tmp_path / 'moved'} --name churn" in raised.value.remedy
    assert names(work) == ["churn"]
    found = models.add(work, tmp_path / "moved", name="churn")
    assert (found.new, found.model.id) == (False, model.id)
    assert found.model.folder == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("Churn", "churn"),
        ("a/b", "a-b"),
        ("-a-", "a"),
        ("", "model"),
        ("日本", "model"),
        ("é", "e"),
        ("a" * 49, "a" * 48),
        ("a@3", "a-3"),
        ("a\n", "a"),
    ],
)
def test_odd_names_are_refused_with_a_better_one(work, tmp_path, name, proposed):
    assert slug(name) == proposed
    with pytest.raises(Problem, match="cannot be a name") as raised:
        models.checked_name(name)
    assert raised.value.remedy.endswith(proposed)


def test_an_odd_configured_name_is_refused(work, tmp_path):
    with pytest.raises(Problem, match="cannot be a name"):
        models.add(work, folder(tmp_path, "a", '[model]\nname = "Churn!"'))


def test_what_cannot_be_tracked_is_refused(work, tmp_path):
    with pytest.raises(Problem, match="is not there"):
        models.add(work, tmp_path / "gone")
    with pytest.raises(Problem, match="in each other"):
        models.add(work, tmp_path)
    with pytest.raises(Problem, match="in each other"):
        models.add(work, folder(work.home, "inside"))


def test_a_model_is_renamed(work, tmp_path):
    models.add(work, folder(tmp_path, "churn"))
    with work.open_recorded() as recorded:
        source = recorded.source("churn", "local")
    assert models.rename(work, "churn", "left").name == "left"
    with work.open_recorded() as recorded:
        assert recorded.find("left", "local") == source
    assert "left" in names(work)
    assert "churn" not in names(work)
    with pytest.raises(Problem, match="cannot be a name"):
        models.rename(work, "left", "Left")


def test_a_deployed_model_is_neither_renamed_nor_removed_unless_forced(work, tmp_path):
    models.add(work, folder(tmp_path, "churn"))
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local"))
    for act in (lambda: models.rename(work, "churn", "left"), lambda: models.remove(work, "churn")):
        with pytest.raises(Problem, match='deployed on "local"'):
            act()
    models.remove(work, "churn", force=True)
    assert names(work) == []
    with work.open_store() as store:
        assert store.instances.all() == []
    assert (tmp_path / "churn").is_dir()
    with pytest.raises(NotFound):
        models.remove(work, "churn")


def test_the_example_is_added_again_when_its_folder_has_gone(work, tmp_path):
    for place in ("clone", "another"):
        folder = tmp_path / place / "tumour"
        shutil.copytree(config.asset("examples/tumour"), folder)
        model = models.add_example(work, folder)
        assert (model.name, model.folder) == ("tumour", str(folder))
        shutil.rmtree(folder)

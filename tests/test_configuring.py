"""Editing `rhythmicml.toml`: what stays, what is refused, what two edits become."""

import pytest
from client import write_model

from app.errors import Problem, Stale
from app.services import configuring, describing, merging, models

TEXT = """\
# mine
[deploy]            # where
workers = 2         # two cores
memory = "2G"
exclude = ["a/", "b/"]

[deploy.env]
A = "1"             # keep

[model]
metadata = { auc = 0.9 }
"""


@pytest.fixture
def churn(work, tmp_path):
    folder = write_model(tmp_path / "churn", "churn")
    models.add(work, folder)
    return folder


def test_form_that_was_not_touched_changes_nothing():
    values = {(f.section, f.key): f.value for g in configuring.fields(TEXT).values() for f in g}
    assert configuring.with_fields(TEXT, values) == TEXT


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (("deploy", "workers"), "4", "workers = 4         # two cores"),
        (("deploy", "memory"), "4G", 'memory = "4G"'),
        (("deploy", "exclude"), "c/\nd d/", 'exclude = ["c/", "d d/"]'),
        (("deploy", "env"), '{ A = "1", B = "2" }', 'A = "1"             # keep\nB = "2"'),
        (("model", "metadata"), "{ auc = 0.91 }", "metadata = { auc = 0.91 }"),
        (("model", "description"), 'He said "so"\nand went', 'description = "He said \\"so\\"\\n'),
        (("deploy", "location"), "prod", 'location = "prod"'),
        (("deploy", "location"), '["a", "b"]', 'location = ["a", "b"]'),
        (("predict", "batch"), "false", "[predict]\nbatch = false"),
        (("deploy", "preload"), "true", "preload = true"),
        (("gate", "max_latency"), "200ms", '[gate]\nmax_latency = "200ms"'),
    ],
)
def test_one_field_changes_one_place_and_comments_stay(key, value, line):
    made = configuring.with_fields(TEXT, {key: value})
    assert line in made
    assert made.startswith("# mine\n[deploy]            # where\n")
    assert 'A = "1"             # keep' in made
    assert configuring.check(made) == []


def test_new_key_stands_above_what_is_commented_out_below(tmp_path):
    models.init(tmp_path / "spam")
    drafted = (tmp_path / "spam" / "rhythmicml.toml").read_text()
    fields = {("deploy", "memory"): "512M", ("deploy", "port"): "8101"}
    above = 'exclude = ["notebooks/", "*.ipynb"]   # versioned, not shipped\n'
    made = configuring.with_fields(drafted, fields)
    assert made == drafted.replace(above, f'{above}memory = "512M"\nport = 8101\n')
    only = "[deploy]\n# port = 1\n\n# [gate]\n[model]\n"
    made = configuring.with_fields(only, {("deploy", "port"): "8101"})
    assert made == "[deploy]\nport = 8101\n# port = 1\n\n# [gate]\n[model]\n"


def test_emptied_field_takes_the_key_out():
    made = configuring.with_fields(TEXT, {("deploy", "memory"): "", ("deploy", "env"): ""})
    assert "memory" not in made
    assert "env" not in made
    assert "workers = 2         # two cores" in made


def test_what_is_wrong_names_its_key():
    made = configuring.with_fields(TEXT, {("deploy", "workers"): "many"})
    (fault,) = configuring.check(made)
    assert fault[:2] == ("deploy", "workers")
    assert 'must be a whole number from 1 to 256, not "many"' in fault.words
    assert configuring.check("x = [")[0].words.startswith("This is not valid TOML")


def test_saving_replaces_the_file_and_keeps_its_line_ends_and_mode(work, churn):
    path = churn / "rhythmicml.toml"
    path.write_bytes(b'[model]\r\nname = "churn"\r\n')
    path.chmod(0o640)
    source = configuring.read(work, "churn")
    configuring.save(work, "churn", source.text + "description = 'x'\n", source.digest)
    assert path.read_bytes() == b"[model]\r\nname = \"churn\"\r\ndescription = 'x'\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in churn.iterdir() if "writing" in each.name] == []


def test_file_that_changed_meanwhile_is_not_overwritten(work, churn):
    path = churn / "rhythmicml.toml"
    source = configuring.read(work, "churn")
    path.write_text("# theirs\n")
    with pytest.raises(Stale):
        configuring.save(work, "churn", "# yours\n", source.digest)
    assert path.read_text() == "# theirs\n"
    with pytest.raises(Problem, match="is not a section"):
        configuring.save(work, "churn", "[modle]\n", configuring.read(work, "churn").digest)
    path.unlink()
    made = configuring.save(work, "churn", "# new\n", configuring.read(work, "churn").digest)
    assert made.text == path.read_text() == "# new\n"


BASE = "a\nb\nc\nd\n"


@pytest.mark.parametrize(
    ("theirs", "yours", "merged", "conflicts"),
    [
        ("a\nB\nc\nd\n", "a\nb\nc\nD\n", "a\nB\nc\nD\n", 0),
        ("a\nB\nc\nd\n", "a\nb\nC\nd\n", "a\nB\nC\nd\n", 0),
        ("a\nb\nd\n", "a\nb\nd\n", "a\nb\nd\n", 0),
        ("x\na\nb\nc\nd\n", "a\nb\nc\nd\ny\n", "x\na\nb\nc\nd\ny\n", 0),
        (BASE, "", "", 0),
        (
            "a\nB\nc\nd\n",
            "a\nb2\nc\nd\n",
            "a\n<<<<<<< in the file now\nB\n=======\nb2\n>>>>>>> yours\nc\nd\n",
            1,
        ),
    ],
)
def test_two_edits_of_one_text_become_one(theirs, yours, merged, conflicts):
    assert merging.merge(BASE, theirs, yours) == (merged, conflicts)


def test_describe_changes_only_what_is_said(work, churn):
    path = churn / "rhythmicml.toml"
    path.write_text(
        '[model]\nname = "churn" # its name\n[model.metadata]\nauc = 0.9 # on Q3\nn = 1\n'
    )
    said = describing.describe(
        work, "churn", set_values={"n": 2}, tag=("a", "b", "a"), untag=("b",), description="# X\ny"
    )
    assert said == describing.Description("# X\ny", ("a",), {"auc": 0.9, "n": 2})
    assert describing.parse(path.read_text()) == said
    assert "auc = 0.9 # on Q3\n" in path.read_text()
    assert '"churn" # its name\n' in path.read_text()
    before = path.read_text()
    assert describing.describe(work, "churn") == said
    assert path.read_text() == before
    assert describing.describe(work, "churn", unset=("auc", "n"), untag=("a",)).metadata() == {}
    with pytest.raises(Problem, match='has no "auc"'):
        describing.describe(work, "churn", unset=("auc",))


@pytest.mark.parametrize(
    "value", ["plain", "0.91", " a ", "", "true", 'q"', "x\ny", 1, [1, "a"], {}]
)
def test_value_reads_back_as_it_is_shown(value):
    assert configuring.value_of(describing.shown(value)) == value

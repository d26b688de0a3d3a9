"""Building a pipeline stage by stage in the text: only that changes, and what is wrong is said."""

import pytest

from app.errors import Problem
from app.services import composing, configuring

TEXT = """\
[model]
name = "credit"       # what it is called

# who is asked first
[[stage]]
name = "features"
instance = "featurizer"   # the old one
version = 3

[[stage]]                 # the second
name = "risk"
instance = "risk"
columns = ["features.sum"]

[deploy]
port = 8105
"""


def values(text, at):
    return composing.fields(configuring.parsed(text)["stage"][at])


def changed(text, at, **more):
    return composing.with_stage(text, at, {**values(text, at), **more})


@pytest.mark.parametrize("at", [0, 1])
def test_a_stage_that_was_not_touched_changes_nothing(at):
    assert changed(TEXT, at) == TEXT


def test_one_field_changes_one_line_and_comments_stay():
    assert changed(TEXT, 0, version="") == TEXT.replace("version = 3\n", "")
    made = changed(TEXT, 1, columns="total = features.sum\nage = input.age")
    assert made == TEXT.replace(
        'columns = ["features.sum"]', 'columns = { total = "features.sum", age = "input.age" }'
    )
    assert values(made, 1)["columns"] == "total = features.sum\nage = input.age"


def test_a_new_stage_comes_last_and_the_rest_stays():
    fields = {"name": "blend", "combine": "weighted", "weights": "[0.5, 0.5]",
              "after": "features\nrisk", "version": "3", "location": "lab"}  # fmt: skip
    made = composing.with_stage(TEXT, None, fields)
    assert [line for line in TEXT.splitlines() if line not in made.splitlines()] == []
    assert configuring.check(made) == []
    assert configuring.parsed(made)["stage"][2] == {
        "name": "blend", "combine": "weighted", "weights": [0.5, 0.5],
        "after": ["features", "risk"],
    }  # fmt: skip
    assert configuring.parsed(made)["deploy"] == {"port": 8105}
    assert "who is asked first" in made


def test_the_first_stage_of_a_model_makes_it_a_pipeline():
    made = composing.with_stage('[model]\nname = "a"\n', None, {"name": "x", "instance": "m"})
    assert composing.draft(made).graph.output == "x"
    assert composing.draft('[model]\nname = "a"\n').stages == ()


def test_a_stage_that_is_taken_out_takes_nothing_else_with_it():
    made = composing.without_stage(TEXT, 1)
    assert [each["name"] for each in configuring.parsed(made)["stage"]] == ["features"]
    assert "who is asked first" in made
    assert "port = 8105" in made
    assert "stage" not in configuring.parsed(composing.without_stage(made, 0))
    with pytest.raises(Problem, match="not in the file any more"):
        composing.without_stage(made, 1)


def test_what_is_not_whole_yet_is_told_and_drawn_all_the_same():
    found = composing.draft(TEXT.replace('columns = ["features.sum"]', 'after = ["input"]'))
    assert found.fault == 'Stage "features": nothing takes what it gives.'
    assert found.graph.levels == (("features", "risk"),)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"after": "risk"}, "Stages wait for each other: risk → risk."),
        ({"when": "features.sum >"}, 'Stage "risk": '),
        ({"columns": "nobody.sum"}, 'Stage "risk": there is no stage "nobody".'),
        ({"name": "features"}, 'Two stages are called "features"'),
        ({"version": "none"}, 'must be the number of a version such as 3, or "production"'),
    ],
)
def test_what_is_wrong_is_said_as_a_sentence(work, more, said):
    text = changed(TEXT, 1, **more)
    with work.open_store() as store:
        verdict = composing.judge(store, text, "risk", None)
    assert said in " ".join([verdict.unfinished, *(each.words for each in verdict.faults)])


def test_a_model_that_is_not_known_is_named(work):
    with work.open_store() as store:
        verdict = composing.judge(store, TEXT, "risk", None)
    assert verdict.misfits == ['Stage "risk" asks "risk", and no model is called so.']

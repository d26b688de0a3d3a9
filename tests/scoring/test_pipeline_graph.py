"""The graph of a pipeline: what it is made of, and each way in which it can be wrong."""

import re

import pytest

from app.scoring.pipeline import graph
from app.scoring.pipeline.expressions import Reference


def stage(name, **said):
    return {"name": name, **({} if "combine" in said else {"instance": name}), **said}


def parse(*stages, **pipeline):
    return graph.parse({"stages": list(stages), "pipeline": pipeline})


def ensemble():
    return parse(
        stage("features"),
        stage("forest", after=["features"]),
        stage("logit", after=["features"], columns=[["", "features.*"], ["age", "input.age"]]),
        stage("blend", combine="weighted", after=["forest", "logit"], weights=[0.7, 0.3]),
    )


def test_stages_run_as_soon_as_what_they_need_is_there():
    made = ensemble()
    assert made.levels == (("features",), ("forest", "logit"), ("blend",))
    assert made.order == ("features", "forest", "logit", "blend")
    assert made.output == "blend"
    assert made.needs("logit") == ("features", "input")
    assert made.names_input


def test_a_stage_follows_the_one_before_or_what_it_speaks_of():
    made = parse(
        stage("one"),
        stage("two"),
        stage("three", when="two.score > 0.5", columns=[["", "one.*"]]),
    )
    assert [one.after for one in made.stages.values()] == [("input",), ("one",), ("one", "two")]
    assert not made.names_input


def test_only_a_stage_given_the_input_whole_blames_the_caller():
    made = parse(
        stage("whole"),
        stage("picked", columns=[["", "input.a"], ["", "whole"]]),
    )
    assert made.stages["whole"].takes_input
    assert not made.stages["picked"].takes_input


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "A pipeline needs a [[stage]]."),
        ([stage("input")], '"input" cannot be the name of a stage'),
        ([stage("Big")], '"Big" cannot be the name of a stage'),
        ([stage("a"), stage("a")], 'Two stages are called "a".'),
        ([stage("a", after=["b"])], 'Stage "a": there is no stage "b".'),
        (
            [stage("a", after=["c"]), stage("b"), stage("c")],
            "Stages wait for each other: a → c → b → a.",
        ),
        ([stage("a", after=["a"])], "Stages wait for each other: a → a."),
        ([stage("a"), stage("b", after=["input"])], 'Stage "a": nothing takes what it gives.'),
        ([stage("a", combine="mean", instance="x")], "one of `instance` and `combine`"),
        ([{"name": "a"}], "one of `instance` and `combine`"),
        ([stage("a"), stage("b", combine="best")], '"best" is no way to combine: mean, weighted'),
        ([stage("a"), stage("b", combine="weighted")], "need each other"),
        ([stage("a"), stage("b", combine="weighted", weights=[1, 2])], "2 weights for 1 stages"),
        ([stage("a"), stage("b", combine="weighted", weights=[0])], "All its weights are 0."),
        ([stage("a"), stage("b", combine="weighted", weights=[-1])], "at least 0"),
        ([stage("a", weights=[1])], '`weights` are for combine = "weighted".'),
        ([stage("a", combine="mean")], "The input is no prediction"),
        ([stage("a"), stage("b", combine="mean", when="a > 1")], "`when` is not for a stage that"),
        ([stage("a", columns=[["x", "input.*"]])], 'cannot all be called "x"'),
        ([stage("a", columns=[["x", "input.a"], ["x", "input.b"]])], 'two columns called "x"'),
        ([stage("a", columns=[["x", "input.a"]], constants={"x": 1})], 'two columns called "x"'),
        ([stage("a", columns=[["x", "input a"]])], '"input a" is no reference'),
        ([stage("a", columns=[])], "`columns` names none."),
        ([stage("a", when="input.a >")], 'Stage "a": "input.a >" is not a complete expression.'),
        ([stage("a", timeout=0)], "`timeout` must be more than 0."),
    ],
)
def test_what_is_wrong_is_named(stages, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(*stages)


def test_the_output_must_be_a_stage():
    with pytest.raises(ValueError, match='There is no stage "z"'):
        parse(stage("a"), output="z")


@pytest.mark.parametrize("parallel", [0, 65, True, "3"])
def test_how_many_batches_at_once_is_a_small_number(parallel):
    with pytest.raises(ValueError, match="parallel must be a number from 1 to 64"):
        parse(stage("a"), parallel=parallel)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", Reference("a")),
        ("a.*", Reference("a", "*")),
        ("a.0", Reference("a", "0")),
        ("a.Größe", Reference("a", "Größe")),
        ('a["sepal length (cm)"]', Reference("a", "sepal length (cm)")),
        ("a['x']", Reference("a", "x")),
        ("""a['x"y']""", Reference("a", 'x"y')),
    ],
)
def test_references_are_read_and_written(text, wanted):
    read = graph.reference(text)
    assert read == wanted
    assert graph.reference(str(read)) == wanted

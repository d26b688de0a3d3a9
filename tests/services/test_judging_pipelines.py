"""What can be said of a pipeline before anything of it runs."""

import json

import pytest
from client import write_model

from app.errors import NotFound, Problem
from app.models import Configuration, Location
from app.scoring.pipeline import graph as graphs
from app.scoring.schema import Field, Schema
from app.services import configuring, dependents, fitting, models, versions


def graph(*stages, **pipeline):
    return graphs.parse({"stages": stages, "pipeline": pipeline})


def asks(name, instance="m", **more):
    return {"name": name, "instance": instance, **more}


def columns(given=(), **inputs):
    """A schema that takes columns of these types and gives others."""
    taken = tuple(Field(name, kind) for name, kind in inputs.items())
    return Schema("columns", taken, tuple(given))


def gives(**outputs):
    return [Field(name, kind) for name, kind in outputs.items()]


def unnamed(kind="float64", *shape):
    return [Field("predict", kind, tuple(shape))]


def misfits(graph, asked=None, **schemas):
    return [(one.stage, one.words) for one in fitting.judge(graph, schemas, asked).misfits]


# Whether stages fit


FEATURES = columns(gives(total="float64", country="string"), amount="float64")


def test_stages_that_fit():
    scores = columns(unnamed(), total="float64", country="category")
    both = graph(asks("features"), asks("forest"))
    request = columns(amount="float64")
    assert misfits(both, request, features=FEATURES, forest=scores) == []


def test_a_column_that_is_not_given_is_named_with_those_that_are():
    scores = columns(unnamed(), sum="float64")
    [(stage, words)] = misfits(
        graph(asks("features"), asks("forest", "wood")), features=FEATURES, forest=scores
    )
    assert stage == "forest"
    assert words == (
        'wood takes the column "sum" (float64), which it is not given; it is given total, country.'
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("float64", 'm takes "country" as float64, and features.country is string.'),
        ("int64", 'm takes "country" as int64, and features.country is string.'),
    ],
)
def test_columns_of_other_types_are_both_named(wanted, words):
    scores = columns(unnamed(), country=wanted)
    chain = graph(asks("features"), asks("forest"))
    assert misfits(chain, features=FEATURES, forest=scores) == [("forest", words)]


def test_fractions_are_no_whole_numbers_and_whole_numbers_are_fractions():
    chain = graph(asks("features"), asks("forest"))
    takes = columns(unnamed(), total="int32")
    [(_, words)] = misfits(chain, features=FEATURES, forest=takes)
    assert words == 'm takes "total" as int32, and features.total is float64.'
    whole = columns(gives(total="int64"), amount="float64")
    assert misfits(chain, features=whole, forest=columns(total="float32")) == []


def test_a_misspelled_reference_is_guessed_at():
    chain = graph(asks("features"), asks("forest", columns=[["", "features.totl"]]))
    [(stage, words)] = misfits(chain, features=FEATURES)
    assert (stage, words) == (
        "forest",
        'It speaks of features.totl; "features" gives total, country. Meant: features.total?',
    )
    where = graph(asks("features"), asks("forest", when="features.ttal > 1"))
    assert "It speaks of features.ttal" in misfits(where, features=FEATURES)[0][1]


def test_columns_are_renamed_and_constants_added():
    takes = columns(unnamed(), sum="float64", currency="string", amount="float64")
    chosen = [["sum", "features.total"], ["", "input.amount"]]
    stages = graph(asks("features"), asks("forest", columns=chosen, constants={"currency": "EUR"}))
    request = columns(amount="float64")
    assert misfits(stages, request, features=FEATURES, forest=takes) == []
    number = graph(asks("features"), asks("forest", columns=chosen, constants={"currency": 1}))
    [(_, words)] = misfits(number, request, features=FEATURES, forest=takes)
    assert words == 'm takes "currency" as string, and the constant "currency" is int64.'


def test_a_name_that_occurs_twice_gets_its_stage_in_front():
    one = columns(gives(p="float64"), a="float64")
    takes = columns(unnamed(), p="float64", right_p="float64")
    joined = graph(
        asks("left", after=["input"]),
        asks("right", after=["input"]),
        asks("both", after=["left", "right"]),
    )
    assert misfits(joined, left=one, right=one, both=takes) == []


def test_a_matrix_has_to_be_as_wide_as_the_next_stage_takes():
    wide = Schema("matrix", (Field("inputs", "float64", (3,)),), tuple(unnamed()))
    four = columns(unnamed("float64", 4), a="float64")
    chain = graph(asks("pca"), asks("forest"))
    [(_, words)] = misfits(chain, pca=four, forest=wide)
    assert words == ("m takes 3 numbers a row, and it is given 4: pca_0, pca_1, pca_2, pca_3.")
    three = graph(asks("pca"), asks("forest", columns=[["", f"pca.{n}"] for n in range(3)]))
    assert misfits(three, pca=four, forest=wide) == []


def test_what_is_not_known_is_not_held_against_it():
    unknown = columns((), amount="float64")
    chain = graph(asks("features"), asks("forest"))
    assert misfits(chain, features=unknown, forest=columns(sum="float64")) == []
    assert misfits(chain) == []


def both(how, **more):
    return graph(
        asks("forest", after=["input"]),
        asks("logit", after=["input"]),
        {"name": "blend", "combine": how, "after": ["forest", "logit"], **more},
    )


def test_outputs_that_differ_are_not_combined():
    forest, logit = columns(gives(p="float64")), columns(gives(probability="float64"))
    [(stage, words)] = misfits(both("mean"), forest=forest, logit=logit)
    assert stage == "blend"
    assert words == (
        '"forest" and "logit" cannot be combined, for their outputs differ: '
        '"forest" gives p; "logit" gives probability.'
    )
    assert misfits(both("concat"), forest=forest, logit=logit) == []
    one = columns(unnamed())
    assert misfits(both("weighted", weights=[1, 2]), forest=one, logit=one) == []


def test_labels_have_no_mean():
    labels = columns(unnamed("string"))
    [(_, words)] = misfits(both("mean"), forest=labels, logit=labels)
    assert words == (
        'combine = "mean" takes numbers, and forest is string; combine = "vote" takes any.'
    )
    assert misfits(both("vote"), forest=labels, logit=labels) == []


def test_what_the_pipeline_gives_follows_from_its_stages():
    flow = fitting.judge(both("mean"), {"forest": columns(unnamed("float32"))})
    assert flow.gives["blend"] == {"blend": Field("blend", "float64")}
    flow = fitting.judge(graph(asks("features")), {"features": FEATURES})
    assert list(flow.gives["features"]) == ["total", "country"]


# What a change of a stage would break


def test_only_what_did_fit_before_is_broken():
    stages = [asks("features", "f"), asks("forest", "m")]
    before = {"features": FEATURES, "forest": columns(unnamed(), total="float64")}
    renamed = columns(gives(sum="float64"), amount="float64")
    [broken] = dependents.breaks(stages, before, {**before, "features": renamed}, None)
    assert broken.stage == "forest"
    assert 'takes the column "total" (float64), which it is not given' in broken.words
    assert dependents.breaks(stages, {**before, "features": renamed}, before, None) == []
    needs = columns(unnamed(), total="float64", age="int64")
    [broken] = dependents.breaks(stages, before, {**before, "forest": needs}, None)
    assert '"age"' in broken.words


def asking(work, force=False, **more):
    """Who asks forest, of which the host says that a pipeline does."""
    stage = {"name": "wood", "instance": "forest", "version": 3, "optional": False, **more}
    said = {"pipeline": "credit", "version": 7, "stage": "wood", "pinned": stage["version"]}
    place = Location("lab", "ssh")
    return dependents.of(work, "forest", place, [{**said, "stages": [stage]}], force)


def test_a_version_that_a_pipeline_is_not_pinned_to_is_refused(work):
    with pytest.raises(Problem) as refused:
        asking(work).refuse_version(4, None)
    assert refused.value.what == (
        "v4 of forest cannot be production on lab: a pipeline is pinned to v3."
    )
    assert 'credit v7 on lab (stage "wood")' in refused.value.cause
    asking(work).refuse_version(3, None)
    asking(work, force=True).refuse_version(4, None)


def test_only_what_is_optional_may_end(work):
    with pytest.raises(Problem) as refused:
        asking(work).refuse_end("stopped")
    assert "rhythmicml undeploy credit --to lab" in refused.value.remedy
    asking(work, optional=True).refuse_end("stopped")
    asking(work, force=True).refuse_end("taken away")


# Committing


@pytest.fixture
def add(work, tmp_path):
    """Track a model, committed as it is."""

    def added(name, *, taken="", given="", toml=""):
        folder = write_model(tmp_path / name, name)
        schema = "".join(
            f"[schema.{side}]\n{fields}\n"
            for side, fields in (("inputs", taken), ("outputs", given))
        )
        text = (folder / "rhythmicml.toml").read_text()
        (folder / "rhythmicml.toml").write_text(text + schema + toml)
        if taken:
            (folder / "sample.json").unlink()
        models.add(work, folder)
        return versions.commit(work, name).version

    return added


def pipeline(work, tmp_path, stages, name="credit", more=""):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "rhythmicml.toml").write_text(f'[model]\nname = "{name}"\n{more}\n{stages}')
    models.add(work, folder)
    return versions.commit(work, name)


def said(stages, work, tmp_path, **more):
    with pytest.raises(Problem) as raised:
        pipeline(work, tmp_path, stages, **more)
    return raised.value


ONE = '[[stage]]\nname = "forest"\ninstance = "forest"\n'


def test_a_pipeline_needs_no_script_and_has_no_packages(work, tmp_path, add):
    add("forest")
    made = pipeline(work, tmp_path, ONE)
    assert made.version.configuration.stages[0]["after"] == ["input"]
    assert versions.show(work, "credit@1").packages == {}
    assert not versions.diff(work, "credit@1")
    assert pipeline(work, tmp_path, ONE).new is False


def test_an_unknown_instance_is_named_and_guessed_at(work, tmp_path, add):
    add("forest")
    problem = said(ONE.replace('instance = "forest"', 'instance = "forrest"'), work, tmp_path)
    assert isinstance(problem, NotFound)
    assert problem.what == 'Stage "forest" asks "forrest", and no model is called so.'
    assert problem.remedy == 'Meant: instance = "forest"?'
    assert (
        "pinned to v7 of forest, which is not there"
        in said(ONE + "version = 7", work, tmp_path).what
    )


def test_stages_in_a_circle_are_named(work, tmp_path, add):
    add("forest")
    stages = ONE + 'after = ["wood"]\n[[stage]]\nname = "wood"\ninstance = "forest"\n'
    assert (
        said(stages, work, tmp_path).what == "Stages wait for each other: forest → wood → forest."
    )


def test_pipelines_that_ask_each_other_are_named(work, tmp_path, add):
    add("forest")
    inner = '[[stage]]\nname = "in"\ninstance = "inner"\n'
    pipeline(work, tmp_path, ONE, name="inner")
    pipeline(work, tmp_path, inner)
    back = '[[stage]]\nname = "out"\ninstance = "credit"\n'
    problem = said(back, work, tmp_path, name="inner")
    assert problem.what == "inner would ask itself: inner → credit → inner."
    own = '[[stage]]\nname = "in"\ninstance = "credit"\n'
    assert said(own, work, tmp_path).what == "credit would ask itself: credit → credit."
    deep = said(inner, work, tmp_path, name="deep", more="[pipeline]\nmax_hops = 1")
    assert deep.what.startswith("deep goes 2 pipelines deep, and its max_hops is 1")


def test_a_schema_that_does_not_fit_is_named_at_commit(work, tmp_path, add):
    add("features", given='total = { type = "string" }')
    add("forest", taken='total = { type = "float64" }')
    stages = '[[stage]]\nname = "features"\ninstance = "features"\n' + ONE
    problem = said(stages, work, tmp_path)
    assert problem.what == 'Stage "forest" does not fit what it is given.'
    assert problem.cause == 'forest takes "total" as float64, and features.total is string.'
    add("features", given='total = { type = "float32" }')
    assert pipeline(work, tmp_path, stages).new


def test_a_pinned_stage_is_judged_by_its_own_version(work, tmp_path, add):
    add("features", given='total = { type = "string" }')
    add("features", given='total = { type = "float32" }')
    add("forest", taken='total = { type = "float64" }')
    stages = '[[stage]]\nname = "features"\ninstance = "features"\n{}' + ONE
    assert pipeline(work, tmp_path, stages.format("")).new
    assert "features.total is string" in said(stages.format("version = 1\n"), work, tmp_path).cause


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("features.total >", "is not a complete expression."),
        ("open('/etc/passwd')", "only abs() of one value can be called."),
        ("featurs.total > 1", 'there is no stage "featurs".'),
    ],
)
def test_a_condition_that_cannot_be_is_named(work, tmp_path, add, condition, words):
    add("forest")
    stages = '[[stage]]\nname = "features"\ninstance = "forest"\n' + ONE + f'when = "{condition}"\n'
    assert words in said(stages, work, tmp_path).what
    assert 'Stage "forest":' in said(stages, work, tmp_path).what


def test_columns_of_the_request_make_it_a_table(work, tmp_path, add):
    add("forest", taken='amount = { type = "float64" }')
    version = pipeline(work, tmp_path, ONE + 'columns = ["input.amount"]\n').version
    assert version.configuration.input == "dataframe"


def test_a_request_that_is_handed_on_whole_is_what_its_stage_takes(work, tmp_path, add):
    add("forest", toml='[predict]\ninput = "ndarray"\n')
    folder = tmp_path / "credit"
    folder.mkdir()
    (folder / "sample.json").write_text("[[1, 2, 3]]")
    version = pipeline(work, tmp_path, ONE).version
    assert version.schema["kind"] == "matrix"
    assert version.schema["inputs"][0]["shape"] == [3]


# What is wrong with the file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[stage]\nname = "a"', "[stage] has to be written [[stage]], with two brackets"),
        ('[[stages]]\nname = "a"', "[stages] is not a section. Meant: [[stage]]?"),
        ('[[stage]]\ninstance = "m"', "The 1st stage: name is missing"),
        ('[[stage]]\nname = "A b"\ninstance = "m"', 'Stage "A b": name must be a name of a-z'),
        ('[[stage]]\nname = "input"\ninstance = "m"', 'must be another word: "input" is'),
        ('[[stage]]\nname = "a"', 'Stage "a": it neither asks a model (instance = "churn")'),
        ('[[stage]]\nname = "a"\nmodel = "m"', 'Stage "a": model is not a key of a [[stage]]'),
        ('[[stage]]\nname = "a"\ninstance = "m"\ntimout = 1', "meant: timeout?"),
        ('[[stage]]\nname = "a"\ninstance = "m"\nversion = "v3"', "the number of a version such"),
        ('[[stage]]\nname = "a"\ninstance = "m"\ncombine = "mean"', "both instance and combine"),
        ('[[stage]]\nname = "a"\ncombine = "avg"', "must be one of mean, weighted, vote, concat"),
        ('[[stage]]\nname = "a"\ncombine = "weighted"', "needs weights, one for each of `after`"),
        ('[[stage]]\nname = "a"\ncombine = "mean"\nversion = 1', "only for stages with an inst"),
        ('[[stage]]\nname = "a"\ninstance = "m"\nafter = []', 'must list stages such as ["inp'),
        ('[[stage]]\nname = "a"\ninstance = "m"\ncolumns = "x"', "must be a list such as"),
        ('[[stage]]\nname = "a"\ninstance = "m"\n' * 2, 'Two stages are called "a"'),
        ("[pipeline]\nparallel = 2", "[pipeline] is of use only where there is a [[stage]]"),
        ("[pipeline]\nparalel = 2", "paralel in [pipeline] is not a key. Meant: parallel?"),
        ("combine = 'mean'", "combine belongs into a [[stage]]."),
    ],
)
def test_each_mistake_says_which_stage_which_key_and_what_would_be_right(text, words):
    assert any(words in fault.words for fault in configuring.check(text)), configuring.check(text)


def test_stages_survive_json(work, tmp_path, add):
    add("forest")
    made = pipeline(work, tmp_path, ONE + "timeout = 2\noptional = true\n").version.configuration
    assert Configuration.from_dict(json.loads(json.dumps(made.as_dict()))) == made
    old = {k: v for k, v in made.as_dict().items() if k not in ("stages", "pipeline")}
    assert Configuration.from_dict(old).stages == ()

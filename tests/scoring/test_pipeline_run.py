"""Pipelines of real fronts: what they answer, and what they say with it."""

import http.client
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import call, wait_for
from .pipelines import DOUBLE, FRAME, PLUS, SUM, Base, ensemble, stage

PEOPLE = [
    {"age": 30.0, "income": 100.0, "country": "DE", "note": None},
    {"age": 60.0, "income": 50.0, "country": "IT", "note": "x"},
]
SEEN = FRAME + "    return inputs.assign(seen=list(inputs.columns)[0] + str(len(inputs.columns)))\n"
AGED = (
    FRAME + "    return pd.DataFrame({'score': inputs['age'] / 100, 'label': inputs['country']})\n"
)
ECHO = FRAME + "    return inputs\n"
SOME = {"age": 30.0, "country": "DE"}
JSON = "def predict(model, inputs):\n    return [{'n': len(row)} for row in inputs]\n"
SCRIPT = FRAME + "    return inputs['forest'] * 10 + inputs['logit']\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory, science):
    made = Base(tmp_path_factory.mktemp("base"), science)
    made.model("logit", PLUS, access_log="all", ready=False)
    made.model("aged", AGED, sample=[SOME], ready=False)
    made.model("echo", ECHO, sample=None, ready=False)
    made.model("named", ECHO, sample=[{"s": 1.0}], ready=False)
    made.models(features=DOUBLE, forest=SUM)
    for front in made.fronts.values():
        front.wait_ready()
    yield made
    made.close()


@pytest.fixture(scope="module")
def credit(base):
    return base.pipeline(ensemble())


def traced(front, body):
    client = http.client.HTTPConnection("localhost", timeout=10)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(front.private))
    return call(client, "POST", "/score", body, {"X-Pipeline-Trace": "1"})


def test_stages_run_one_after_the_other_and_at_once(credit):
    answer = credit.post("/score", [[1, 2, 3], [4, 5, 6]])
    assert answer.json == {"predictions": [13.0, 31.0]}
    assert answer.headers["X-Pipeline"] == "features=1, forest=1, logit=1"
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.headers["X-Pipeline-Missing"] is None


def test_it_is_asked_in_every_protocol(credit):
    inputs = {"name": "inputs", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}
    answer = credit.post("/v2/models/credit/infer", {"inputs": [inputs]})
    assert answer.json["outputs"][0]["data"] == [13.0]
    assert answer.headers["X-Pipeline"] == "features=1, forest=1, logit=1"
    assert credit.post("/invocations", {"inputs": [[1, 2, 3]]}).json == {"predictions": [13.0]}


def test_its_schema_is_learned_from_its_sample(credit):
    said = credit.get("/schema").json
    assert (said["kind"], said["pipeline"]["depth"]) == ("ndarray", 1)
    assert [one["name"] for one in said["pipeline"]["stages"]] == [
        *("features", "forest", "logit", "blend"),
    ]
    refused = credit.post("/score", [[1, 2]])
    assert refused.json["error"]["what"] == "Each row must have 3 values, got 2."


def test_requests_pass_the_stages_in_joined_batches(credit, base):
    def ask(number):
        return credit.score([[number, 0, 0]])

    before = batches(base.fronts["forest"])
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(400)))
    assert answers == [[2.0 * number + 1] for number in range(400)]
    assert batches(base.fronts["forest"]) - before < 300


def batches(front):
    text = front.get("/metrics").body.decode()
    return int(re.search(r"^rhythmicml_batch_rows_count{[^}]*} (\d+)", text, re.M)[1])


def test_what_stages_took_is_counted(credit):
    credit.score([[1, 2, 3]])
    text = credit.get("/metrics").body.decode()
    assert re.search(r'rhythmicml_stage_requests_total{.*stage="forest",code="200"} [1-9]', text)
    assert re.search(r'rhythmicml_stage_seconds_count{.*stage="logit"} [1-9]', text)
    assert 'stage="blend"' not in text


def test_names_of_request_and_trace_pass_through(credit, base):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-Id": "ana-1", "traceparent": trace}
    answer = credit.post("/score", [[1, 2, 3]], **headers)
    assert answer.headers["X-Request-Id"] == "ana-1"
    span = answer.headers["traceparent"].split("-")[2]
    wait_for(lambda: '"request":"ana-1"' in base.fronts["logit"].log)
    lines = base.fronts["logit"].log.splitlines()
    found = json.loads(next(one for one in lines if '"request":"ana-1"' in one))
    assert found["trace"] == trace.split("-")[1]
    assert found["span"] != span


def test_each_stage_can_be_seen_on_the_private_socket_only(credit):
    answer = traced(credit, [[1, 2, 3]])
    assert answer.json["predictions"] == [13.0]
    steps = {one["name"]: one for one in answer.json["stages"]}
    assert steps["features"]["output"] == [[2.0, 4.0, 6.0]]
    assert (steps["logit"]["output"], steps["logit"]["version"]) == ([14.0], 1)
    assert steps["blend"]["version"] is None
    public = credit.post("/score", [[1, 2, 3]], **{"X-Pipeline-Trace": "1"})
    assert public.json == {"predictions": [13.0]}


def test_jobs_go_through_too(credit):
    taken = credit.post("/score", [[1, 2, 3]], Prefer="respond-async")
    assert taken.status == 202
    for _ in range(100):
        answer = credit.get(taken.headers["Location"])
        if answer.status == 200:
            break
    assert answer.json == {"predictions": [13.0]}


def test_columns_are_chosen_renamed_and_added(base):
    stages = [
        stage("aged", columns=[["", "input.age"], ["", "input.country"]]),
        stage(
            "echo",
            columns=[["", "aged.score"], ["who", "aged.label"], ["", "input.note"]],
            constants={"currency": "EUR", "n": 3},
        ),
    ]
    front = base.pipeline(stages, "columns", PEOPLE)
    assert front.score(PEOPLE) == [
        {"score": 0.3, "who": "DE", "note": None, "currency": "EUR", "n": 3},
        {"score": 0.6, "who": "IT", "note": "x", "currency": "EUR", "n": 3},
    ]


def test_names_that_occur_twice_have_their_stage_in_front(base):
    stages = [
        stage("echo", after=["input"]),
        stage("both", instance="echo", after=["echo", "input"], columns=None),
    ]
    front = base.pipeline(stages, "twice", [{"a": 1.0}])
    assert front.score([{"a": 5.0}]) == [{"echo_a": 5.0, "input_a": 5.0}]


def switch(**more):
    return [
        stage("aged", after=["input"]),
        stage("old", instance="named", when="aged.score > 0.5", columns=[["s", "aged.score"]]),
        stage("young", instance="named", when="aged.score <= 0.5", columns=[["s", "input.income"]]),
        stage("either", combine="first", after=["old", "young"]),
    ]


def test_rows_go_where_their_condition_holds(base):
    front = base.pipeline(switch(), "switched", PEOPLE)
    assert front.score(PEOPLE) == [{"s": 100.0}, {"s": 0.6}]
    assert front.score(PEOPLE[:1]) == [{"s": 100.0}]
    missing = front.post("/score", [{"age": 1.0}])
    assert missing.status == 400


def test_a_row_that_no_stage_has_is_null(base):
    stages = [*switch()[:2]]
    front = base.pipeline(stages, "partly", PEOPLE)
    assert front.score([*PEOPLE, *PEOPLE]) == [{"s": None}, {"s": 0.6}, {"s": None}, {"s": 0.6}]
    assert front.score(PEOPLE[:1]) == [{"s": None}]


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({"combine": "weighted", "weights": [3, 1]}, [12.5]),
        ({"combine": "first"}, [12.0]),
        ({"combine": "concat"}, [{"forest": 12.0, "logit": 14.0}]),
        ({"combine": "vote"}, [12.0]),
    ],
)
def test_branches_are_combined(base, how, wanted):
    front = base.pipeline(ensemble(**how), f"by_{how['combine']}")
    assert front.score([[1, 2, 3]]) == wanted


def test_a_script_of_its_own_combines(base):
    stages = ensemble(combine="script")
    front = base.pipeline(stages, "scripted", script=SCRIPT)
    assert front.score([[1, 2, 3], [4, 5, 6]]) == [134.0, 332.0]


def test_texts_and_nulls_arrive_as_they_were(base):
    front = base.pipeline([stage("echo")], "texts", [{"t": "ä", "b": True, "n": 1}])
    rows = [{"t": None, "b": True, "n": 3}, {"t": "", "b": False, "n": -1}]
    assert front.score(rows) == rows


def test_json_models_are_asked_in_json(base):
    base.model("json", JSON, sample=[[1, 2]])
    front = base.pipeline([stage("json")], "jsons", [[1, 2]])
    assert front.score([[1, 2, 3], []]) == [{"n": 3}, {"n": 0}]


def test_one_bad_request_does_not_fail_those_it_was_joined_with(base):
    source = FRAME + "    return [{1.0: 10.0, 2.0: 20.0}[one] for one in inputs['a']]\n"
    base.model("picky", source, sample=[{"a": 1.0}])
    front = base.pipeline([stage("picky")], "picked", [{"a": 1.0}])

    def ask(number):
        return front.post("/score", [{"a": 3.0 if number == 7 else 2.0}])

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [one.status for one in answers].count(200) == 63
    assert answers[7].status == 502
    assert answers[7].json["error"]["what"] == 'Stage "picky" failed.'
    assert "KeyError" in answers[7].json["error"]["cause"]


def test_what_the_caller_sent_wrong_is_the_callers_fault(base):
    front = base.pipeline([stage("forest")], "unsampled", sample=None)
    answer = front.post("/score", [[1, 2]])
    assert answer.status == 400
    assert answer.json["error"]["what"] == 'Stage "forest" refused the rows.'
    assert "Each row must have 3 values, got 2." in answer.json["error"]["cause"]


def test_pipelines_of_pipelines_tell_of_all_stages(base, credit):
    front = base.pipeline([stage("inner", instance="credit")], "outer")
    answer = front.post("/score", [[1, 2, 3]])
    assert answer.json == {"predictions": [13.0]}
    assert answer.headers["X-Pipeline"] == (
        "inner=1, inner/features=1, inner/forest=1, inner/logit=1"
    )
    assert front.get("/schema").json["pipeline"]["depth"] == 2


def test_deeper_than_allowed_is_refused(credit):
    answer = credit.post("/score", [[1, 2, 3]], **{"X-Pipeline-Hops": "5"})
    assert answer.status == 508
    assert '"credit" is the last of them' in answer.json["error"]["what"]
    assert credit.post("/score", [[1, 2, 3]], **{"X-Pipeline-Hops": "4"}).status == 200

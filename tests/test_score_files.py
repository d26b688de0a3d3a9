"""Whole files through the command line, scored by a real instance on this machine."""

import csv
import gzip
import json
import os
import signal
import subprocess
import time

import pytest
from client import Client, Failed, write_model
from scoring.conftest import CACHE, environment

from app.services.parquet import PYARROW

SCRIPT = """
import time

def load(artifacts):
    return FACTOR

def predict(model, inputs: list):
    time.sleep(0.004 if "slow" in inputs[0] else 0)
    return [answer(model, row) for row in inputs]

def answer(model, row):
    if "echo" in row:
        return row["echo"]
    if row.get("x") == -13:
        raise ValueError("poison")
    return {"score": model * row["x"], "sure": row["x"] > 2}
"""


def write(folder, factor=2):
    write_model(folder, "files", script=SCRIPT.replace("FACTOR", str(factor)))
    (folder / "sample.json").write_text('[{"x": 1}]')
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    client = Client(folder / "home")
    client.home.mkdir()
    tools = CACHE.parent / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (client.home / "tools").symlink_to(tools)
    client("deploy", str(write(folder / "model")))
    yield client
    client.undeploy_all()


@pytest.fixture
def score(client, tmp_path):
    """Score a file, named or as its text, into tmp_path; the summary."""

    def run(data, out="out.csv", *words):
        if isinstance(data, str):
            (tmp_path / "data.csv").write_text(data)
            data = tmp_path / "data.csv"
        return client("score", "files", "--data", str(data), "--out", str(tmp_path / out), *words)

    return run


def table(rows, slow=""):
    return f"id,x{slow}\n" + "".join(
        f"k{n},{n / 4}{slow and ',1'}\n" for n in range(100, 100 + rows)
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.csv.gz", "a.jsonl.gz"]
)
def test_every_kind_of_text_gives_the_same(score, tmp_path, name):
    rows = [{"id": f"k{n}", "x": n / 4} for n in range(2500)]
    if "json" in name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        tab = "\t" if "tsv" in name else ","
        text = f"id{tab}x\n" + "".join(f"{row['id']}{tab}{row['x']}\n" for row in rows)
    packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(packed)
    done = score(tmp_path / name, "out.csv", "--keep", "id")
    assert (done["rows"], done["bad"], done["bad_file"], done["resumed_at"]) == (
        2500,
        0,
        None,
        None,
    )
    assert done["release"].startswith("v")
    with (tmp_path / "out.csv").open(newline="") as file:
        head, *written = csv.reader(file)
    assert head == ["id", "score", "sure"]
    truth = {True: "true", False: "false"}
    assert written == [[row["id"], str(2 * row["x"]), truth[row["x"] > 2]] for row in rows]
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out.csv"])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_rows_stand_alone_and_are_told(score, tmp_path, kind):
    rows = [f"k{n},{n + 20}" for n in range(3000)]
    rows[6] = rows[1500] = rows[2999] = "poison,-13"
    rows[77] = "too,many,fields"
    rows[78] = "text,much"
    done = score("id,x\n" + "\n".join(rows), f"out.{kind}", "--keep", "id")
    assert (done["rows"], done["bad"]) == (3000, 5)
    bad = lines(tmp_path / f"out.{kind}.bad.jsonl")
    assert [row["row"] for row in bad] == [7, 78, 79, 1501, 3000]
    assert bad[0]["data"] == {"id": "poison", "x": "-13"}
    assert "It raised ValueError." in bad[0]["reason"]
    assert bad[1]["reason"] == "It has 3 fields, the header has 2."
    assert "TypeError" in bad[2]["reason"]
    written = (tmp_path / f"out.{kind}").read_text().splitlines()[kind == "csv" :]
    assert len(written) == 3000
    if kind == "csv":
        assert [written[n] for n in (5, 6, 77, 79)] == [
            "k5,50,true",
            "poison,,",
            ",,",
            "k79,198,true",
        ]
    else:
        assert json.loads(written[6]) == {"id": "poison", "score": None, "sure": None}


def test_strict_ends_with_1_and_the_warning_is_on_stderr(client, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n-13\n2\n")
    words = ("score", "files", "--data", tmp_path / "a.csv", "--out", tmp_path / "b.csv")
    for more, code in (((), 0), (("--strict",), 1)):
        argv = client.argv(*map(str, (*words, "--bad", tmp_path / "bad.jsonl", "--force", *more)))
        done = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert f"Warning: 1 rows are bad: {tmp_path / 'bad.jsonl'}" in done.stderr
        assert "3 rows in" in done.stdout
    assert (tmp_path / "b.csv").read_text() == "score,sure\n2,false\n,\n4,false\n"


def test_wrong_columns_stop_at_once_with_the_reasons(score, tmp_path):
    with pytest.raises(Failed) as failed:
        score("y\n" + "1\n" * 5000)
    assert failed.value.problem["what"] == "More than half of the first 1,000 rows are bad."
    assert "KeyError" in failed.value.problem["cause"]
    assert failed.value.problem["detail"].startswith("Row 1: ")
    assert os.listdir(tmp_path) == ["data.csv"]


@pytest.mark.parametrize(
    ("echo", "head", "row"),
    [
        (0.5, "prediction", "0.5"),
        ([1, 2.5], "prediction_0,prediction_1", "1,2.5"),
        ({"a": "x,y", "b": None}, "a,b", '"x,y",'),
        ([[1, 2], [3, 4]], "prediction_0,prediction_1", '"[1, 2]","[3, 4]"'),
        (None, "prediction", '""'),
    ],
)
def test_answers_of_every_shape_become_columns(score, tmp_path, echo, head, row):
    (tmp_path / "a.jsonl").write_text((json.dumps({"echo": echo}) + "\n") * 3)
    score(tmp_path / "a.jsonl")
    assert (tmp_path / "out.csv").read_text() == f"{head}\n" + f"{row}\n" * 3


def test_kept_column_with_the_name_of_a_prediction_is_renamed(score, tmp_path):
    score("score,x\nold,1\n", "out.jsonl", "--keep", "all")
    assert lines(tmp_path / "out.jsonl") == [
        {"score_input": "old", "x": 1, "score": 2, "sure": False}
    ]


def test_header_alone_gives_a_header_alone(score, tmp_path):
    assert score("id,x\n", "out.csv", "--keep", "id")["rows"] == 0
    assert (tmp_path / "out.csv").read_text() == "id,prediction\n"
    (tmp_path / "empty.jsonl").write_text("")
    assert score(tmp_path / "empty.jsonl", "out.jsonl")["rows"] == 0
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_small_batches_over_one_connection_give_the_same(score, tmp_path):
    score(table(500), "one.csv", "--batch-rows", "7", "--connections", "1")
    score(table(500), "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def begin(client, tmp_path, rows=6000, more=()):
    """A run that takes seconds, left once it has something to go on from."""
    (tmp_path / "data.csv").write_text(table(rows, ",slow"))
    words = ("--data", str(tmp_path / "data.csv"), "--out", str(tmp_path / "out.csv"))
    words = ("score", "files", *words, "--keep", "id", "--batch-rows", "10", "--connections", "1")
    running = client.start(*words, *more)
    wait_for(lambda: kept(tmp_path) > 0 or running.poll() is not None)
    assert running.poll() is None, running.communicate()
    return words, running


def kept(tmp_path):
    try:
        return json.loads((tmp_path / "out.csv.part/journal.json").read_text())["rows"]
    except FileNotFoundError:
        return 0


def expected(rows):
    return "id,score,sure\n" + "".join(f"k{n},{2 * (n / 4)},true\n" for n in range(100, 100 + rows))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_goes_on_and_gives_the_same_bytes(client, tmp_path, number):
    words, running = begin(client, tmp_path)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), said
    assert not (tmp_path / "out.csv").exists()
    begun = kept(tmp_path)
    done = client(*words)
    assert done["resumed_at"] == begun + 1
    assert done["rows"] == 6000
    assert (tmp_path / "out.csv").read_text() == expected(6000)
    assert not (tmp_path / "out.csv.part").exists()


def test_stopped_run_says_where_it_continues(client, tmp_path):
    words, running = begin(client, tmp_path)
    running.kill()
    running.communicate(timeout=60)
    place = f"Continuing at row {kept(tmp_path) + 1:,}"
    argv = client.argv(*words)
    done = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=True)
    assert place in done.stderr


def test_what_is_there_is_overwritten_only_when_told(score, tmp_path):
    (tmp_path / "out.csv").write_text("precious")
    for words in ((), ("--restart",)):
        with pytest.raises(Failed) as failed:
            score(table(5), "out.csv", *words)
        assert failed.value.problem["what"] == f'"{tmp_path / "out.csv"}" is there already.'
        assert "--force" in failed.value.problem["remedy"]
        assert (tmp_path / "out.csv").read_text() == "precious"
        assert not (tmp_path / "out.csv.part").exists()
    with pytest.raises(Failed):
        score(table(5), "two.csv", "--bad", str(tmp_path / "out.csv"))
    earlier = tmp_path / "three.csv.bad.jsonl"
    earlier.write_text("what was wrong last time")
    with pytest.raises(Failed) as failed:
        score(table(5), "three.csv")
    assert failed.value.problem["what"] == f'"{earlier}" is there already.'
    assert earlier.read_text() == "what was wrong last time"
    assert score(table(5), "out.csv", "--force")["rows"] == 5
    assert "precious" not in (tmp_path / "out.csv").read_text()


def test_a_run_that_was_begun_with_force_goes_on_without(client, tmp_path):
    (tmp_path / "out.csv").write_text("old")
    words, running = begin(client, tmp_path, more=("--force",))
    running.kill()
    running.communicate(timeout=60)
    begun = kept(tmp_path)
    assert client(*words)["resumed_at"] == begun + 1
    assert (tmp_path / "out.csv").read_text() == expected(6000)


def test_two_runs_do_not_write_one_file(client, tmp_path):
    words, running = begin(client, tmp_path)
    running.send_signal(signal.SIGSTOP)  # or it may be done before the other one has started
    with pytest.raises(Failed) as failed:
        client(*words)
    assert failed.value.problem["kind"] == "Busy"
    running.kill()
    running.communicate(timeout=60)


def test_another_input_is_not_mixed_with_what_was_begun(client, tmp_path):
    words, running = begin(client, tmp_path)
    running.kill()
    running.communicate(timeout=60)
    with pytest.raises(Failed) as failed:
        client(*words, "--rows", "records")
    assert failed.value.problem["what"].startswith("--rows has changed since ")
    (tmp_path / "data.csv").write_text(table(50, ",slow"))
    with pytest.raises(Failed) as failed:
        client(*words)
    assert failed.value.problem["what"].startswith("The file that --data names has changed since ")
    assert "--restart" in failed.value.problem["remedy"]
    assert client(*words, "--restart")["resumed_at"] is None
    assert (tmp_path / "out.csv").read_text() == expected(50)


def test_two_releases_are_not_mixed(client, tmp_path):
    words, running = begin(client, tmp_path)
    try:
        running.send_signal(signal.SIGSTOP)  # or it may be done before the switch
        folder = client.home.parent / "model"
        second = client("deploy", str(write(folder, factor=3)))
        running.send_signal(signal.SIGCONT)
        said, _ = running.communicate(timeout=60)
        problem = json.loads(said)["error"]
        assert problem["what"].startswith("files on local was switched from v")
        with pytest.raises(Failed) as failed:
            client(*words)
        assert failed.value.problem["what"].startswith("Production was switched from v")
        assert f" to v{second['version']} since" in failed.value.problem["what"]
    finally:
        running.kill()
        client("rollback", "files")
    assert client(*words)["resumed_at"] > 1, "back at the first release it goes on"
    assert (tmp_path / "out.csv").read_text() == expected(6000)


def test_restart_of_the_instance_meanwhile_is_not_noticed(client, tmp_path):
    _, running = begin(client, tmp_path)
    client("restart", "files")
    said, errors = running.communicate(timeout=120)
    assert running.returncode == 0, said + errors
    assert json.loads(said)["bad"] == 0
    assert (tmp_path / "out.csv").read_text() == expected(6000)


def test_what_can_never_be_done_is_said_first(client, score, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    wrong = {
        (tmp_path / "a.csv", "a.csv"): "is the input itself",
        (tmp_path / "a.csv", "a.xlsx"): "cannot be told from its name",
        ("-", "b.csv"): "A table cannot come from stdin.",
    }
    for (data, out), what in wrong.items():
        with pytest.raises(Failed) as failed:
            client("score", "files", "--data", str(data), "--out", str(tmp_path / out))
        assert what in failed.value.problem["what"]
    with pytest.raises(Failed) as failed:
        score(tmp_path / "a.csv", "b.csv", "--keep", "z")
    assert 'no column "z"' in failed.value.problem["what"]


def test_table_without_out_is_not_sent_as_json(client, tmp_path):
    (tmp_path / "a b.csv").write_text("x\n1\n")
    with pytest.raises(Failed) as failed:
        client("score", "files", "--data", str(tmp_path / "a b.csv"))
    assert failed.value.problem["what"] == '"a b.csv" is a table, and --out is not given.'
    assert f"--data '{tmp_path / 'a b.csv'}' --out" in failed.value.problem["remedy"]


def test_options_of_whole_files_need_out(client, tmp_path):
    (tmp_path / "a.json").write_text("[]")
    argv = client.argv("score", "files", "--data", str(tmp_path / "a.json"), "--batch-rows", "5")
    done = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--batch-rows is of use with --out" in done.stderr


def test_batch_that_is_too_large_for_the_instance_is_divided(client, tmp_path):
    folder = write_model(tmp_path / "small", "small", script=SCRIPT.replace("FACTOR", "2"))
    (folder / "sample.json").write_text('[{"x": 1}]')
    with (folder / "rhythmicml.toml").open("a") as settings:
        settings.write('[deploy]\nmax_body = "4K"\n')
    client("deploy", str(folder))
    long = "y" * 5000
    (tmp_path / "data.csv").write_text(table(900) + f"{long},3\n")
    words = ("--data", str(tmp_path / "data.csv"), "--out", str(tmp_path / "out.csv"))
    done = client("score", "small", *words, "--keep", "id")
    assert (done["rows"], done["bad"]) == (901, 1)
    assert (tmp_path / "out.csv").read_text() == expected(900) + f"{long},,\n"


def test_reason_of_a_bad_row_counts_no_row_of_its_own(client, tmp_path):
    script = "def predict(model, inputs):\n    return [row['age'] for row in inputs]\n"
    folder = write_model(tmp_path / "aged", "aged", script=script)
    (folder / "sample.json").write_text('[{"age": 41}]')
    with (folder / "rhythmicml.toml").open("a") as settings:
        settings.write('[schema.inputs]\nage = { type = "int64", max = 120 }\n')
    client("deploy", str(folder))
    (tmp_path / "data.csv").write_text("age\n41\n42\n300\n")
    words = ("--data", str(tmp_path / "data.csv"), "--out", str(tmp_path / "out.csv"))
    assert client("score", "aged", *words)["bad"] == 1
    [bad] = lines(tmp_path / "out.csv.bad.jsonl")
    assert bad["row"] == 3
    assert bad["reason"] == 'Column "age": expected at most 120, got a larger one.'


FRAME = """
def load(artifacts):
    return None

def predict(model, inputs: "pd.DataFrame"):
    import pandas as pd
    made = pd.DataFrame({"code": inputs["code"] + "!", "twice": inputs["x"] * 2})
    return made
"""


def test_columns_are_what_the_model_says(client, tmp_path):
    """A column of text stays text although it looks like numbers; what is not asked for is left."""
    folder = write_model(tmp_path / "frame", "frame", script=FRAME)
    (folder / "sample.json").write_text('[{"code": "a", "x": 1.5}]')
    (folder / "requirements.txt").write_text("pandas\n")
    with (folder / "rhythmicml.toml").open("a") as settings:
        settings.write('[predict]\ninput = "dataframe"\n')
    client("deploy", str(folder))
    (tmp_path / "data.csv").write_text("key,x,code\nk1,1,7\nk2,007,8\nk3,,9\n")
    words = ("--data", str(tmp_path / "data.csv"), "--out", str(tmp_path / "out.jsonl"))
    client("score", "frame", *words, "--keep", "key")
    assert lines(tmp_path / "out.jsonl") == [
        {"key": "k1", "code": "7!", "twice": 2.0},
        {"key": "k2", "code": "8!", "twice": 14.0},
        {"key": "k3", "code": "9!", "twice": None},
    ]


PARQUET = """
import json, sys
from datetime import datetime, timedelta
import pyarrow as pa, pyarrow.parquet as pq

if sys.argv[1] == "make":
    n = int(sys.argv[3])
    start = datetime(2026, 1, 1)
    pq.write_table(pa.table({
        "id": [f"{i:06d}" for i in range(n)],
        "x": [None if i % 1000 == 999 else i / 8 for i in range(n)],
        "count": list(range(n)),
        "good": [i % 2 == 0 for i in range(n)],
        "at": [start + timedelta(seconds=i) for i in range(n)],
        **{name: [1] * n for name in sys.argv[4:]},
    }), sys.argv[2], row_group_size=7000)
else:
    table = pq.read_table(sys.argv[2])
    types = {field.name: str(field.type) for field in table.schema}
    print(json.dumps({"types": types, "rows": table.num_rows,
                      "some": table.slice(998, 3).to_pylist()}))
"""


def pyarrow(*words):
    python = environment((f"pyarrow=={PYARROW}",)) / "bin" / "python"
    argv = [python, "-c", PARQUET, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_parquet_in_and_out_keeps_types_and_order(score, tmp_path):
    pyarrow("make", tmp_path / "a.parquet", 100_000)
    done = score(tmp_path / "a.parquet", "out.parquet", "--keep", "all")
    assert (done["rows"], done["bad"]) == (100_000, 100)
    said = json.loads(pyarrow("look", tmp_path / "out.parquet"))
    assert said["rows"] == 100_000
    assert said["types"] == {
        **{"id": "string", "x": "double", "count": "int64", "good": "bool", "at": "string"},
        **{"score": "double", "sure": "bool"},
    }
    one, bad, two = said["some"]
    assert (one["id"], one["x"], one["score"], one["at"]) == (
        *("000998", 124.75, 249.5),
        "2026-01-01T00:16:38",
    )
    assert (bad["id"], bad["x"], bad["score"], bad["sure"]) == ("000999", None, None, None)
    assert (two["id"], two["score"]) == ("001000", 250.0)
    reasons = lines(tmp_path / "out.parquet.bad.jsonl")
    assert (reasons[0]["row"], reasons[0]["data"]["id"]) == (1000, "000999")


def test_parquet_goes_on_where_it_stopped(client, tmp_path):
    pyarrow("make", tmp_path / "a.parquet", 9000, "slow")
    words = ("score", "files", "--data", str(tmp_path / "a.parquet"), "--keep", "id")
    whole = str(tmp_path / "whole.csv")
    assert client(*words, "--out", whole)["rows"] == 9000
    words = (*words, "--out", str(tmp_path / "out.csv"))
    running = client.start(*words, "--batch-rows", "10", "--connections", "1")
    wait_for(lambda: kept(tmp_path) > 0 or running.poll() is not None)
    running.kill()
    running.communicate(timeout=60)
    assert not (tmp_path / "out.csv").exists()
    assert client(*words)["resumed_at"] > 1
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_parquet_columns_hold_also_what_comes_late(score, tmp_path):
    """Types are those of all the rows, not of the first ones."""
    early = {"n": 1, "text": 1, "list": [1], "late": None, "none": None}
    late = {"n": 0.5, "text": "one", "list": [None, 0.5], "late": True, "none": None}
    with (tmp_path / "a.jsonl").open("w") as file:
        for row in [early] * 10_500 + [late]:
            file.write(json.dumps({"echo": row}) + "\n")
    score(tmp_path / "a.jsonl", "out.parquet")
    said = json.loads(pyarrow("look", tmp_path / "out.parquet"))
    assert said["rows"] == 10_501
    assert said["types"] == {
        **{"n": "double", "text": "string", "late": "bool", "none": "null"},
        "list": "list<element: double>",
    }
    assert said["some"][0] == early | {"n": 1.0, "text": "1", "list": [1.0]}


def test_pyarrow_that_cannot_be_fetched_is_a_problem(tmp_path):
    client = Client(tmp_path / "home")
    client.environ |= {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    (tmp_path / "a.parquet").write_bytes(b"")
    words = ("--data", str(tmp_path / "a.parquet"), "--out", str(tmp_path / "out.csv"))
    with pytest.raises(Failed) as failed:
        client("score", "files", *words)
    assert failed.value.problem["what"] == "What reads Parquet files could not be installed."
    assert os.listdir(tmp_path / "home" / "tools") == []


def test_damaged_parquet_is_a_problem(score, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(Failed) as failed:
        score(tmp_path / "a.parquet")
    assert "cannot be read as Parquet" in failed.value.problem["what"]


def wait_for(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)

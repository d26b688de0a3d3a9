"""What is on a host is read again, mended by a deploy, and enough to begin anew from."""

import csv
import json
import random
import subprocess

import pytest
from client import PREDICT, Client, Failed
from client import briefly_watched as write_model

SEED = 20


def run(client, *words):
    """Exit code, and the JSON that was printed."""
    argv = client.argv(*words, "--json")
    done = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Somebody with two versions of `churn` on this machine, the second in production."""
    home = tmp_path_factory.mktemp("upkeep")
    client = Client(home / "home")
    folder = write_model(home / "churn", "churn")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "notes.md").write_text("not shipped\n")
    config = folder / "rhythmicml.toml"
    config.write_text(config.read_text() + '[deploy]\nexclude = ["notes.md"]\n')
    client("deploy", str(folder), "-m", "first")
    (folder / "artifacts" / "weights.json").write_text('{"factor": 7}')
    (folder / "notes.md").write_text("not shipped, either\n")
    client("deploy", "churn", "-m", "second")
    yield client
    client("undeploy", "churn", "--purge", "--yes")


def score(client, file):
    file.write_text('{"inputs": [[1, 2, 3]]}')
    return client("score", "churn", "--data", str(file))["answer"]["predictions"]


def flip(path, chance):
    """One bit of one byte; the file keeps its size, its mode and its inode."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def recorded(env):
    """Files of packages that their RECORD has a digest of."""
    for record in env.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        for line in record.read_text().splitlines():
            path = record.parent.parent / line.split(",")[0]
            if "sha256=" in line and path.stat().st_size:
                yield path


def test_each_of_twenty_flipped_bytes_is_found_and_mended(client, tmp_path):
    """F26: in blobs, releases, the runtime's program and its packages; named each by its file."""
    print("seed", SEED)
    chance, base = random.Random(SEED), client.home / "local"
    assert run(client, "verify", "local")[0] == 0
    [runtime] = (base / "runtime").glob("[0-9a-f]*")
    [release] = base.glob("instances/churn/releases/v1-*/files")
    released = [each for each in release.rglob("*") if "__pycache__" not in each.parts]
    program = [each for each in (runtime / "program").rglob("*.py") if each.stat().st_size]
    blobs = [each for each in base.glob("blobs/??/*") if each.stat().st_size]
    chosen = [
        *chance.sample(sorted(program), 7),
        *chance.sample(sorted(recorded(runtime / "env")), 6),
        *[each for each in sorted(released) if each.is_file() and each.stat().st_size][:4],
        *[each for each in sorted(blobs) if each.stat().st_nlink == 1][:3],
    ]
    assert len(chosen) == 20
    for path in chosen:
        flip(path, chance)
    code, said = run(client, "verify", "local")
    assert code == 1
    named = "\n".join(f"{each['where']} {each['what']}" for each in said["findings"])
    lacking = [path for path in chosen if path.name not in named]
    assert lacking == []
    assert all(each["remedy"] for each in said["findings"])
    assert score(client, tmp_path / "data.json") == [42.0], "production is as it was"

    for number in (1, 2):
        assert client("deploy", f"churn@{number}")["changed"]
    code, said = run(client, "verify", "local")
    assert (code, said["findings"]) == (0, [])


def test_hand_edits_and_a_broken_link_are_named(client):
    [folder] = client.home.glob("local/instances/churn/releases/v1-*")
    (folder / "files" / "extra.py").write_text("import this\n")
    current = folder.parent / "current"
    was = current.readlink()
    current.unlink()
    current.symlink_to("v9-gone")
    code, said = run(client, "verify", "local")
    current.unlink()
    current.symlink_to(was)
    assert code == 1
    assert {(each["kind"], each["what"]) for each in said["findings"]} == {
        ("release", '"extra.py" is extra'),
        ("current", 'leads to "v9-gone", no release'),
    }
    client("deploy", "churn@1")
    client("deploy", "churn@2")
    assert run(client, "verify", "local")[1]["findings"] == []


def test_what_is_not_judged_is_said_last(client):
    [site] = client.home.glob("local/runtime/*/env/lib/python*/site-packages")
    (site / "by_hand.py").write_text("import this\n")
    half = client.home / "local" / "envs" / "0123456789abcdef-cp311-x86_64"
    half.mkdir(parents=True)
    code, said = run(client, "verify", "local")
    (site / "by_hand.py").unlink()
    half.rmdir()
    assert (code, said["findings"]) == (0, [])
    records = site.glob("*.dist-info/RECORD")
    rows = [row for each in records for row in csv.reader(each.read_text().splitlines())]
    bare = sum(not row[1] and not row[0].endswith(".pyc") for row in rows)
    assert bare > 0
    assert f"{bare:,} files that their packages give no digest for" in said["not_judged"]
    assert "what was put into an environment by hand" in said["not_judged"]
    assert "1 environment that is not whole" in said["not_judged"]
    words = subprocess.check_output(
        client.argv("verify", "local"), env=client.environ, text=True, stderr=subprocess.DEVNULL
    )
    assert words.splitlines()[-1].startswith("Not judged: what Python caches (.pyc), ")


def test_flipped_byte_in_the_store_names_its_versions_and_is_mended_by_a_commit(client):
    [(path, digest)] = [
        (file["path"], file["digest"])
        for file in client("show", "churn@2")["files"]
        if file["path"].endswith("weights.json")
    ]
    flip(client.home / "blobs" / digest[:2] / digest, random.Random(SEED))
    code, said = run(client, "verify")
    assert code == 1
    assert [each["versions"] for each in said["findings"]] == [[f"churn@2 ({path})"]]
    client("commit", "churn")
    assert run(client, "verify")[0] == 0


def test_damaged_release_is_not_rolled_back_to(client, tmp_path):
    """F32: the reason is given, production stays."""
    [folder] = client.home.glob("local/instances/churn/releases/v1-*")
    flip(folder / "files" / "artifacts" / "weights.json", random.Random(SEED))
    with pytest.raises(Failed) as refused:
        client("switch", "churn@1")
    assert '"artifacts/weights.json" was changed' in refused.value.problem["cause"]
    assert "rhythmicml deploy churn@1" in refused.value.problem["remedy"]
    assert score(client, tmp_path / "data.json") == [42.0]
    client("deploy", "churn@1")
    client("deploy", "churn@2")


def test_new_laptop_adopts_everything_and_rolls_back(client, tmp_path):
    other = Client(tmp_path / "laptop")
    # The same host by another name: what `local` is to one is a base folder to the other.
    (other.home / "local").parent.mkdir()
    (other.home / "local").symlink_to(client.home / "local")
    words = ("adopt", "local", "--into", str(tmp_path / "work"))
    [adopted] = other(*words)["models"]
    assert adopted["versions"] == [1, 2]
    assert adopted["absent"] == ["notes.md"], "what was never shipped cannot come back"
    [mine, hers] = (each("versions", "churn") for each in (client, other))
    told = ("number", "digest", "message", "author", "created", "manifest", "lock", "configuration")
    assert [{key: v[key] for key in told} for v in hers] == [
        {key: v[key] for key in told} for v in mine
    ]
    folder = tmp_path / "work" / "churn"
    assert json.loads((folder / "artifacts" / "weights.json").read_text()) == {"factor": 7}
    assert (folder / "tool.sh").stat().st_mode & 0o100
    adopt, newest, *_ = other("history", "churn")
    assert (adopt["action"], adopt["detail"]) == ("adopt", "v1, v2")
    assert newest["action"] == client("history", "churn")[0]["action"]

    again = other(*words)
    assert (again["changed"], again["bytes"]) == (False, 0)
    told = other("history", "churn", "-n", "1000")[1:]
    assert len(told) == len(read_history(client))

    assert other("rollback", "churn")["version"] == 1
    assert score(client, tmp_path / "data.json") == [12.0]
    assert other("deploy", "churn@2")["sent"]["files"] == 0
    back = other("restore", "churn@1", "--discard")
    assert back["absent"] == ["notes.md"]
    assert json.loads((folder / "artifacts" / "weights.json").read_text()) != {"factor": 7}
    assert other("restore", "churn@2", "--discard")["absent"] == ["notes.md"]
    code, said = run(other, "verify")
    assert (code, said["findings"]) == (0, [])
    assert [
        each for each in said["not_judged"] if each == "2 files that adopted versions never shipped"
    ]
    changed = {each["path"]: each["text"] for each in other("diff", "churn@1", "churn@2")["files"]}
    assert '+{"factor": 7}' in changed["artifacts/weights.json"]
    assert changed["notes.md"] == "", "its text is nowhere here"


def read_history(client):
    path = client.home / "local/instances/churn/history.jsonl"
    return path.read_text().splitlines()


def test_another_model_of_the_same_name_is_not_mixed_up(client, tmp_path):
    other = Client(tmp_path / "laptop")
    (other.home / "local").parent.mkdir()
    (other.home / "local").symlink_to(client.home / "local")
    other("add", str(write_model(tmp_path / "churn", "churn", factor=99.0)))
    other("commit", "churn")
    with pytest.raises(Failed, match="another model"):
        other("adopt", "local")
    assert [each["number"] for each in other("versions", "churn")] == [1]


def test_first_deployment_that_failed_leaves_no_instance(tmp_path):
    mine, other = Client(tmp_path / "mine"), Client(tmp_path / "laptop")
    broken = PREDICT + "raise ValueError('not today')\n"
    with pytest.raises(Failed, match="not today"):
        mine("deploy", str(write_model(tmp_path / "never", "never", script=broken)))
    (other.home / "local").parent.mkdir()
    (other.home / "local").symlink_to(mine.home / "local")
    [adopted] = other("adopt", "local", "--into", str(tmp_path / "work"))["models"]
    assert adopted["versions"] == [1]
    assert other("list")[0]["deployed"] == []
    assert other("status") == mine("status") == []
    assert "never" not in by_hand(mine, "status")
    assert "not today" in by_hand(mine, "logs", "never"), "what it said stays"
    assert mine("verify", "local")["findings"] == []


def by_hand(client, *words, code=0):
    script = client.home / "local" / "rhythmicml-host"
    done = subprocess.run([script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_host_is_looked_after_without_a_client(client, tmp_path):
    client("deploy", "churn@1")
    client("deploy", "churn@2")
    head, row = by_hand(client, "status").splitlines()
    assert row.split()[:3] == ["churn", "serving", "v2"]
    assert (head.split()[-1], row.split()[-1]) == ("TO", "v1")
    assert by_hand(client, "rollback", "churn") == "churn v1 is serving.\n"
    assert score(client, tmp_path / "data.json") == [12.0]
    assert "(rhythmicml-host)" in json.loads(read_history(client)[-1])["who"]
    by_hand(client, "stop", "churn")
    assert client("status")[0]["state"] == "stopped"
    assert "churn v1 is serving." in by_hand(client, "start", "churn")
    assert "is ready" in by_hand(client, "logs", "churn")
    assert "not deployed here" in by_hand(client, "stop", "nobody", code=1)
    by_hand(client, "dance", code=2)

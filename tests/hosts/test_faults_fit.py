"""F25 before it happens: what does not fit on a server is refused, and nothing was sent there."""

import pytest
from client import Client, Failed, write_model

LARGE = """
def load(artifacts):
    return bytearray(b"1") * 300_000_000

def predict(model, inputs: list):
    return [len(model) for _ in inputs]
"""


def refused(client, *words):
    with pytest.raises(Failed) as failed:
        client("deploy", *words)
    return failed.value.problem


def test_f25_disk_and_inodes_are_judged_before_anything_is_sent(fresh_guest, tmp_path):
    def disk(options):
        fresh_guest.run(["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "none", "/small"])

    client = Client(tmp_path / "home")
    folder = str(write_model(tmp_path / "model", "fit"))
    fresh_guest.run(["mkdir", "/small"])
    disk("size=900m")
    client.add_location(fresh_guest, "root", "srv", "--base", "/small/base")
    said = refused(client, folder, "--to", "srv")
    assert "too full for fit" in said["what"]
    assert "944 MB free" in said["cause"]
    fresh_guest.run(["umount", "/small"])
    disk("size=2g,nr_inodes=20k")
    said = refused(client, folder, "--to", "srv")
    assert "too few files" in said["what"]
    assert (
        fresh_guest.run(["find", "/small/base", "-type", "f", "-size", "+1k"], check=False).stdout
        == ""
    )
    fresh_guest.run(["umount", "/small"])
    disk("size=2g")
    assert client("deploy", folder, "--to", "srv")["changed"]


@pytest.mark.faults
def test_large_model_that_cannot_run_twice_is_refused_with_numbers(fresh_guest, tmp_path):
    client = Client(tmp_path / "home")
    client.add_location(fresh_guest, "root")
    folder = write_model(tmp_path / "model", "large", script=LARGE)
    client("deploy", str(folder), "--to", "srv")
    assert client("status")[0]["memory"] > 300_000_000
    (folder / "sample.json").write_text('{"inputs": [[1]]}')
    little = "printf 'MemTotal: 900000 kB\\nMemAvailable: 200000 kB\\n' > /run/little"
    fresh_guest.run(["sh", "-c", f"{little} && mount --bind /run/little /proc/meminfo"])
    said = refused(client, "large", "--to", "srv")
    assert "cannot run twice" in said["what"]
    assert "205 MB free" in said["cause"]
    assert "rhythmicml deploy large --stop-first" in said["remedy"]
    assert client("status")[0]["state"] == "serving"

    done = client("deploy", "large", "--to", "srv", "--stop-first")
    assert done["version"] == 2
    assert any("nobody is answered" in step for step in done["steps"])
    (folder / "predict.py").write_text(LARGE.replace("return bytearray", "return byte"))
    assert "NameError" in str(refused(client, "large", "--to", "srv", "--stop-first"))
    assert client("score", "large", "--data", str(folder / "sample.json"))["version"] == "2"
    assert client("status")[0]["state"] == "serving"

"""`rhythmicml monitor`: all instances, and one over time, as text, JSON and CSV."""

import csv
import io
import signal
import socket
import subprocess
import time

import pytest
from client import Client, Failed
from recordings import keep, row

from app.models import Instance, Location
from app.store.recorded import Happened


@pytest.fixture
def client(work):
    return Client(work.home)


def said(client, *words):
    done = subprocess.run(
        client.argv("monitor", *words), env=client.environ, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def lately(work, **body):
    now = int(time.time()) // 10 * 10
    event = Happened("f", 1, now - 15.0, 0.0, "worker", '{"how": "killed by SIGKILL"}')
    keep(work, [row(now - 20, **body), row(now - 10, **body)], [event])


def test_all_are_listed_with_their_figures_the_worst_first(work, client):
    lately(work)
    with work.open_recorded() as recorded:
        recorded.keep_state("churn", "local", "degraded", time.time(), {"error": "5% are errors"})
    code, out, _ = said(client, "--offline")
    assert code == 0
    heads, line = (each.split() for each in out.splitlines()[:2])
    assert heads[:6] == ["MODEL", "LOCATION", "STATE", "VERSION", "REQUESTS", "P50"]
    assert line[:6] == ["churn", "local", "degraded", "v1", "10", "req/s"]
    assert "churn on local: 5% are errors" in out


def test_json_and_csv_have_the_same_figures(work, client):
    lately(work)
    (found,) = client("monitor", "--offline")
    _, out, _ = said(client, "--offline", "--csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert (line["model"], line["requests [req/s]"]) == ("churn", "10")
    assert float(line["p95 [ms]"]) == pytest.approx(found["p95"] * 1000, rel=1e-5)
    assert float(line["errors [%]"]) == pytest.approx(5.0)


def test_one_over_a_range_with_what_happened(work, client):
    lately(work)
    code, out, _ = said(client, "churn", "--range", "15m", "--offline")
    assert code == 0
    assert out.startswith("churn on local: serving v1\n")
    assert "a worker has ended: killed by SIGKILL" in out
    found = client("monitor", "churn", "local", "--range", "15m", "--offline")
    assert found["until"] - found["since"] == 900
    _, out, _ = said(client, "churn", "--range", "15m", "--offline", "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    wanted = [each for each in found["requests"] if each is not None]
    assert [float(each["requests [req/s]"]) for each in lines] == wanted
    assert {"cpu [%]", "queue", "predict_p99 [ms]"} < lines[0].keys()


def test_what_is_no_more_can_still_be_read(work, client):
    lately(work)
    with work.open_store() as store:
        store.instances.remove("churn", "local")
    code, out, _ = said(client, "churn", "--range", "15m")
    assert (code, out.splitlines()[0]) == (0, "churn on local: is no more")


def test_a_host_that_is_away_costs_its_state_alone(work, client):
    lately(work)
    with work.open_store() as store:
        store.locations.add(Location("away", "ssh", "ssh://nobody@127.0.0.1:9"))
        known = store.instances.all()[0]
        store.instances.upsert(type(known)("fraud", "away", 1, "v1-a", 1, "serving"))
    rows = {each["model"]: each for each in client("monitor")}
    assert rows["fraud"]["state"] == "unreachable"
    assert rows["churn"]["requests"] == 10.0


def test_two_locations_want_one_named(work, client):
    lately(work)
    with work.open_store() as store:
        known = store.instances.all()[0]
        store.instances.upsert(type(known)("churn", "lab", 1, "v1-a", 1, "serving"))
    with pytest.raises(Failed) as refused:
        client("monitor", "churn", "--offline")
    assert refused.value.problem["what"] == "churn is on several locations: lab, local."
    with pytest.raises(Failed) as refused:
        client("monitor", "nobody", "--offline")
    assert refused.value.problem["kind"] == "NotFound"


def test_nothing_deployed_and_wrong_usage(client):
    assert said(client)[1].startswith("Nothing is deployed.")
    assert said(client, "--watch", "--csv")[0] == 2
    assert said(client, "--json", "--csv")[0] == 2
    assert said(client, "churn", "--range", "2y")[0] == 2


def test_watching_ends_well_also_while_hosts_are_asked_first(work, client):
    with socket.create_server(("127.0.0.1", 0)) as silent, work.open_store() as store:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        store.locations.add(Location("lab", url=f"ssh://ana@127.0.0.1:{port}"))
        store.models.add("churn", "/nowhere")
        store.instances.upsert(Instance("churn", "lab", 8101, "v1-a", 1, "serving"))
        watching = subprocess.Popen(client.argv("monitor", "--watch"), env=client.environ)
        try:
            asked, _ = silent.accept()
            watching.send_signal(signal.SIGINT)
            silent.close()
            asked.close()
            assert watching.wait(30) == 0
        finally:
            watching.kill()

"""One machine, two roads: what holds for this machine holds for a server."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import io
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from app.deployer import road as roads
from app.errors import Busy, NotFound, Problem, Unreachable

MIB = 1024 * 1024


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob(folder: Path, data: bytes) -> tuple[str, int, Path]:
    path = folder / digest_of(data)
    path.write_bytes(data)
    return path.name, len(data), path


def soon(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_hello_says_where_we_are(road, tmp_path):
    assert road.hello["os"] == "linux"
    assert road.hello["mode"] in ("local", "root", "user")
    assert road.hello["base"] == str(tmp_path / "base")


def test_facts_are_complete(road):
    facts = road.call("facts", internet=["127.0.0.1", 1])
    assert facts["internet"] is False
    assert facts["cpus"] >= 1
    assert facts["disk_total"] >= facts["disk_free"] > 0
    assert all(python["path"].startswith("/") for python in facts["pythons"])


def test_unknown_operation_is_a_problem(road):
    with pytest.raises(Problem, match='no operation "dance"'):
        road.call("dance")
    assert road.call("ping") > 0


def test_what_an_operation_stumbles_over_is_a_problem_with_its_traceback(road):
    with pytest.raises(Problem) as caught:
        road.call("missing")
    assert "KeyError" in caught.value.detail
    assert 'args["digests"]' in caught.value.detail


def test_requests_sent_ahead_are_answered_in_order(road):
    pending = [road.send("run", argv=["printf", str(n)]) for n in range(20)]
    assert [each.result(10)["out"] for each in pending] == [str(n) for n in range(20)]


# Programs


def test_arguments_arrive_whole(road):
    argv = ["printf", "%s|", "a b", "$HOME", "'", '"', "`id`", "\n", "-n", "ü", ""]
    assert road.call("run", argv=argv)["out"] == "a b|$HOME|'|\"|`id`|\n|-n|ü||"


def test_both_streams_of_four_megabytes_are_drained_and_bounded(road):
    script = "head -c 4194304 /dev/zero | tr '\\0' e >&2; head -c 4194304 /dev/zero | tr '\\0' o"
    done = road.call("run", argv=["sh", "-c", script], deadline=30)
    assert (done["code"], len(done["out"]), len(done["err"])) == (0, MIB, MIB)
    assert done["lost"] == 6 * MIB


def test_missing_program_is_127(road):
    assert road.call("run", argv=["no-such-program"])["code"] == 127


def test_input_folder_and_environment_reach_the_program(road, tmp_path):
    script = 'cat; printf %s "$WHO"; pwd'
    done = road.call(
        "run", argv=["sh", "-c", script], payload=b"in ", env={"WHO": "me "}, cwd=str(tmp_path)
    )
    assert done["out"] == f"in me {tmp_path}\n"


def test_big_input_to_a_program_that_does_not_read_it_is_no_problem(road):
    assert road.call("run", argv=["true"], payload=b"x" * MIB)["code"] == 0


def test_missing_folder_is_a_problem(road):
    with pytest.raises(NotFound, match="/no/such"):
        road.call("run", argv=["true"], cwd="/no/such")


def test_lines_come_while_the_program_runs(road):
    heard = []
    road.call("run", argv=["sh", "-c", "echo one; echo two >&2"], lines=True, on_event=heard.append)
    assert sorted(heard, key=str) == [{"err": "two"}, {"out": "one"}]


def test_deadline_ends_the_whole_process_group(road):
    begun = time.monotonic()
    heard = []
    script = "sleep 97 & echo $!; wait"
    done = road.call(
        "run", argv=["sh", "-c", script], deadline=0.5, lines=True, on_event=heard.append
    )
    assert done["late"]
    assert time.monotonic() - begun < 5
    assert soon(lambda: not alive(int(heard[0]["out"])))


def test_what_a_program_leaves_running_does_not_hold_us_up(road):
    begun = time.monotonic()
    done = road.call("run", argv=["sh", "-c", "sleep 5 & echo started"])
    assert done["out"] == "started\n"
    assert time.monotonic() - begun < 4


def test_program_ends_when_the_client_goes(open_again):
    heard = []
    with open_again() as road:
        pending = road.send(
            "run", argv=["sh", "-c", "echo $$; sleep 97"], lines=True, on_event=heard.append
        )
        with pytest.raises(Problem, match="did not finish"):
            pending.result(1)
    assert soon(lambda: not alive(int(heard[0]["out"])))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# Blobs


def test_only_missing_blobs_are_named(road, tmp_path):
    here, absent = blob(tmp_path, b"here"), digest_of(b"absent")
    road.upload([here])
    assert road.call("missing", digests=[here[0], absent]) == [absent]


def test_uploaded_blobs_come_back_the_same(road, tmp_path):
    blobs = [blob(tmp_path, os.urandom(size)) for size in (0, 1, 5000, 3 * MIB + 7, 40 * MIB)]
    told = []
    road.upload(blobs, lambda done, total: told.append((done, total)))
    assert told[-1] == (sum(size for _, size, _ in blobs),) * 2
    for digest, size, path in blobs:
        assert road.call("get", digest=digest) == path.read_bytes()
        kept = tmp_path / "base" / "blobs" / digest[:2] / digest
        assert kept.stat().st_mode & 0o777 == 0o444
        assert kept.stat().st_size == size


def test_many_small_files_do_not_cost_a_round_trip_each(road, tmp_path):
    blobs = [blob(tmp_path, b"%d" % n) for n in range(600)]
    requests = []
    send = road.send
    road.send = lambda do, **args: requests.append(do) or send(do, **args)
    road.upload(blobs)
    assert requests.count("put") <= 5
    assert road.call("missing", digests=[digest for digest, _, _ in blobs]) == []


def test_big_answer_can_go_into_a_file(road, tmp_path):
    sent = blob(tmp_path, os.urandom(3 * MIB))
    road.upload([sent])
    file = io.BytesIO()
    assert road.call("get", digest=sent[0], into=file) == 3 * MIB
    assert file.getvalue() == sent[2].read_bytes()


def test_wrong_content_is_refused_and_leaves_nothing(road, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"bitten")
    with pytest.raises(Problem, match="something else"):
        road.upload([(digest_of(b"bitter"), 6, path)])
    assert not [p for p in (tmp_path / "base" / "blobs").rglob("*") if p.is_file()]
    assert road.call("missing", digests=[digest_of(b"bitter")]) == [digest_of(b"bitter")]


def test_name_that_is_no_digest_is_refused(road):
    with pytest.raises(Problem, match="not a SHA-256"):
        road.call("put", payload=b"x", blobs=[["../../etc/passwd", 1]])
    assert road.call("ping") > 0


def test_upload_that_does_not_fit_is_refused_before_it_begins(road, tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 43)
    begun = time.monotonic()
    with pytest.raises(Problem, match=r"need 8\.8 TB, free"):
        road.upload([("0" * 64, 1 << 43, path)])
    assert time.monotonic() - begun < 2


def test_file_that_shrinks_meanwhile_is_a_problem_and_not_a_hang(road, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with pytest.raises(Problem, match="changed its size"):
        road.upload([("0" * 64, 500, path)])
    with pytest.raises(Problem, match="closed"):
        road.call("ping")


# Locks


def test_lock_taken_names_who_since_when_and_at_which_step(road, open_again):
    road.call("lock", name="churn", who="ana", host="laptop", step="Send")
    road.call("step", name="churn", step="Build the environment")
    with open_again() as other, pytest.raises(Busy) as caught:
        other.call("lock", name="churn", who="ben")
    said = caught.value.what
    assert '"churn" is being changed by ana on laptop since 20' in said
    assert 'at "Build the environment"' in said


def test_lock_ends_with_the_road(open_again):
    with open_again() as road:
        road.call("lock", name="churn", who="ana")
    with open_again() as other:
        assert other.call("lock", name="churn", who="ben")["who"] == "ben"


def test_silent_client_loses_its_agent_and_its_lock(open_again, monkeypatch):
    monkeypatch.setattr(roads, "SILENCE", 1.0)
    monkeypatch.setattr(roads, "BEAT", 1000.0)
    with open_again() as silent:
        silent.call("lock", name="churn", who="ana")
        monkeypatch.setattr(roads, "SILENCE", 60.0)
        with open_again() as other:
            assert soon(lambda: takes(other))
        with pytest.raises(Unreachable):
            silent.call("ping")


def test_client_that_beats_keeps_its_lock(open_again, monkeypatch):
    monkeypatch.setattr(roads, "SILENCE", 1.0)
    monkeypatch.setattr(roads, "BEAT", 0.2)
    with open_again() as road:
        time.sleep(2)
        assert road.call("ping") > 0


def takes(road) -> bool:
    try:
        road.call("lock", name="churn", who="ben")
    except Busy:
        return False
    return True


# Ports


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def unix_web(tmp_path):
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self):
            socket.socket.bind(self.socket, self.server_address)

        def get_request(self):
            return self.socket.accept()[0], ("", 0)

    path = str(tmp_path / "private.sock")
    with Server(path, Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def ask(road, address) -> bytes:
    connection = http.client.HTTPConnection("host")
    connection.sock = road.dial(address)
    connection.request("GET", "/")
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_port_of_the_host_answers(road, web):
    assert ask(road, ("127.0.0.1", web)) == b"hello"


def test_unix_socket_of_the_host_answers_while_the_agent_is_busy(road, unix_web):
    pending = road.send("run", argv=["sleep", "1"])
    assert ask(road, unix_web) == b"hello"
    assert pending.result()["code"] == 0


def test_port_where_nobody_listens_is_unreachable(road):
    with pytest.raises(Unreachable):
        road.dial(("127.0.0.1", 1))


def test_unix_socket_that_is_missing_is_unreachable(road, tmp_path):
    with pytest.raises(Unreachable):
        road.dial(str(tmp_path / "nothing.sock"))


def test_tunnel_passes_connections_on_until_closed(road, web):
    with road.forward(0, web) as tunnel:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", tunnel.port, timeout=10)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
            connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", tunnel.port))


def test_tunnel_on_a_taken_port_is_a_problem(road, web):
    with pytest.raises(Problem, match=f"Port {web} of this machine"):
        road.forward(web, web)


# Ends


def test_closed_road_says_so(open_again):
    with open_again() as road:
        pass
    with pytest.raises(Problem, match="closed"):
        road.call("ping")


def test_closing_twice_is_nothing(open_again):
    road = open_again()
    road.close()
    road.close()


def test_agent_killed_while_we_wait_is_unreachable_and_soon(road):
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        road.call("run", argv=["sh", "-c", "kill -9 $PPID; sleep 9"])
    assert time.monotonic() - begun < 5


def test_no_file_or_thread_is_left(open_again):
    open_again().close()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        open_again().close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, files)


def test_upload_stops_soon_after_the_host_has_refused_a_part(road, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(os.urandom(20 * MIB))
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(4096 * MIB)
    told = []
    with pytest.raises(Problem, match="something else"):
        road.upload(
            [("0" * 64, 20 * MIB, wrong), ("1" * 64, 4096 * MIB, big)],
            lambda done, total: told.append(done),
        )
    assert told[-1] < 1024 * MIB


def test_answer_that_cannot_be_written_is_a_problem_and_not_a_hang(road, tmp_path):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    sent = blob(tmp_path, b"content")
    road.upload([sent])
    with pytest.raises(Problem, match="could not be written") as caught:
        road.call("get", digest=sent[0], into=Full(), timeout=10)
    assert "No space left" in caught.value.cause


def test_file_that_is_gone_is_a_problem(road, tmp_path):
    with pytest.raises(Problem, match="cannot be read"):
        road.upload([("0" * 64, 5, tmp_path / "nothing")])


def test_answer_that_comes_late_is_read_after_the_connection_was_let_go(road):
    """http.client closes its socket once it has the head of a last answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            peer, _ = server.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n")
                time.sleep(0.3)
                peer.sendall(b"hello")

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask(road, server.getsockname()) == b"hello"
        thread.join()

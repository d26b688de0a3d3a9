"""TLS on the public socket, with certificates made here and Python's own client to verify them."""

import json
import socket
import ssl
import subprocess
import time
import warnings
from datetime import datetime, timedelta, timezone
from http.client import HTTPSConnection
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.deployer import certificates

from .conftest import call, read_all, wait_for
from .test_auth import SCORE, bearer, tokens
from .test_streams import resident

ECHO = """
import time

def predict(model, inputs):
    if isinstance(inputs, dict):
        time.sleep(inputs.get("sleep", 0))
        return "x" * inputs.get("size", 0)
    return inputs
"""
HASTY = {"RHYTHMICML_HEADER_SECONDS": "0.7", "RHYTHMICML_IDLE_SECONDS": "0.7"}


def certificate(name):
    """A self-signed one for 127.0.0.1, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(pem).decode(), private.decode()


def write(folder, pair):
    folder.mkdir(exist_ok=True)
    for name, text in zip(("certificate.pem", "certificate_key.pem"), pair, strict=True):
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def pair():
    return certificate("first")


@pytest.fixture
def public(serve, instance, pair):
    """Start a front that the public may reach, with a token."""

    def start(environment=None, **settings):
        write(instance.folder / "tls", pair)
        (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE))
        return serve(ECHO, environment=environment, expose="public", **settings)

    return start


def trusting(pair):
    return ssl.create_default_context(cadata=pair[0])


def client(front, pair, timeout=20):
    return HTTPSConnection("127.0.0.1", front.port, timeout=timeout, context=trusting(pair))


def score(front, pair, body=b"[1]", **headers):
    return call(client(front, pair), "POST", "/score", body, {**bearer(SCORE), **headers})


def wrapped(front, pair):
    sock = socket.create_connection(("127.0.0.1", front.port), timeout=20)
    return trusting(pair).wrap_socket(sock, server_hostname="127.0.0.1")


def test_a_client_that_verifies_is_answered(public, pair):
    front = public()
    assert score(front, pair).json == {"predictions": [1]}
    assert call(client(front, pair), "POST", "/score", b"[1]").status == 401
    assert call(client(front, pair), "GET", "/readyz").status == 200
    assert "Traceback" not in front.log


def test_a_client_that_does_not_trust_it_goes_away(public):
    front = public()
    with pytest.raises(ssl.SSLCertVerificationError):
        score(front, certificate("other"))
    assert "Traceback" not in front.log


def test_what_was_fetched_is_trusted_under_its_names_and_can_be_compared(
    public, instance, tmp_path
):
    made = certificates.make("churn", certificates.EVERY_HOST)
    front = public()
    write(instance.folder / "tls", (made.certificate, made.key))
    assert front.admin("POST", "/admin/certificate").status == 200
    pem = tmp_path / "rhythmicml.pem"
    address = f"127.0.0.1:{front.port}"
    fetch = f"openssl s_client -connect {address} -showcerts </dev/null | openssl x509 >{pem}"
    subprocess.run(["sh", "-c", fetch], check=True, capture_output=True, timeout=20)
    show = ["openssl", "x509", "-in", pem, "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(show, check=True, capture_output=True, text=True, timeout=20).stdout
    assert said.strip().endswith(f"={certificates.describe(made.certificate).fingerprint}")
    for name, code in (("127.0.0.1", 0), ("localhost", 0), ("other.example", 60)):
        asked = ("--cacert", pem, "--resolve", f"{name}:{front.port}:127.0.0.1")
        curl = ["curl", "-sS", *asked, f"https://{name}:{front.port}/livez"]
        done = subprocess.run(curl, check=False, capture_output=True, timeout=20)
        assert done.returncode == code, done.stderr


def test_versions_and_protocols(public, pair):
    front = public()
    offered = trusting(pair)
    offered.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", front.port), timeout=20) as plain,
        offered.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        assert sock.version() in ("TLSv1.2", "TLSv1.3")
        assert sock.selected_alpn_protocol() == "http/1.1"
    old = trusting(pair)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", front.port), timeout=20) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_connection_is_kept_and_answers_may_be_large(public, pair):
    front = public()
    kept = client(front, pair)
    for size in (1, 100_000, 5_000_000):
        kept.request("POST", "/score", json.dumps({"size": size}), bearer(SCORE))
        assert len(json.loads(kept.getresponse().read())["predictions"]) == size
    kept.close()


def test_a_large_last_answer_arrives_whole_at_a_slow_reader(public, pair):
    front = public()
    with wrapped(front, pair) as sock:
        body = b'{"size": 8000000}'
        sock.sendall(
            b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (SCORE.encode(), len(body), body)
        )
        time.sleep(3)
        assert len(read_all(sock)) > 8_000_000


def test_the_last_answer_ends_with_a_proper_end(public, pair):
    front = public()
    with wrapped(front, pair) as sock:
        started = time.monotonic()
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - started < 5
        sock.unwrap()


def test_an_unknown_client_is_told_before_its_body_is_there(public, pair):
    front = public()
    with wrapped(front, pair) as sock:
        sock.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        sock.sendall(b"x" * 1000)
        assert read_all(sock).startswith(b"HTTP/1.1 401")


def test_plain_http_on_this_port_is_closed_soon(public):
    front = public()
    started = time.monotonic()
    received = front.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in received
    assert time.monotonic() - started < 5
    assert "Traceback" not in front.log


def test_slow_handshakes_are_closed_at_their_deadline_and_stop_nobody(public, pair):
    front = public(HASTY)
    slow = [socket.create_connection(("127.0.0.1", front.port), timeout=10) for _ in range(300)]
    started = time.monotonic()
    for sock in slow:
        sock.sendall(b"\x16\x03\x01")
    assert score(front, pair).json == {"predictions": [1]}
    for sock in slow:
        assert read_all(sock) == b""
        sock.close()
    assert time.monotonic() - started < 8
    assert score(front, pair).json == {"predictions": [1]}


def test_dripped_handshakes_are_closed_too(public):
    front = public(HASTY)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as sock:
        started = time.monotonic()
        sock.settimeout(0.05)
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500
        closed = False
        for byte in hello:
            try:
                sock.sendall(bytes([byte]))
                closed = sock.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed or time.monotonic() - started > 8:
                break
        assert closed
        assert time.monotonic() - started < 6


def test_silent_connections_are_closed(public, pair):
    front = public(HASTY)
    with wrapped(front, pair) as sock:
        started = time.monotonic()
        assert read_all(sock) == b""
        assert time.monotonic() - started < 8


def test_one_peer_cannot_take_all_connections(public, pair):
    front = public(max_connections=40)
    kept = [wrapped(front, pair) for _ in range(20)]
    assert score(front, pair).status == 503
    assert call(client(front, pair), "GET", "/livez").status == 200
    kept.pop().close()
    wait_for(lambda: score(front, pair).status == 200)
    for sock in kept:
        sock.close()


# The certificate


def names(front, pair):
    with wrapped(front, pair) as sock:
        found = sock.getpeercert()
        assert found
        return dict(part[0] for part in found["subject"])["commonName"]


def test_a_new_certificate_is_used_without_a_break(public, pair, instance):
    front = public()
    kept = client(front, pair)
    kept.request("POST", "/score", "[1]", bearer(SCORE))
    assert kept.getresponse().read() == b'{"predictions":[1]}'
    second = certificate("second")
    write(instance.folder / "tls", second)
    assert names(front, pair) == "first"
    assert front.admin("POST", "/admin/certificate").status == 200
    assert names(front, second) == "second"
    kept.request("POST", "/score", "[2]", bearer(SCORE))
    assert kept.getresponse().read() == b'{"predictions":[2]}'
    kept.close()


def test_a_certificate_may_be_told(public, pair):
    front = public()
    second = certificate("second")
    said = json.dumps({"certificate": second[0], "certificate_key": second[1]})
    assert front.admin("POST", "/admin/certificate", said).status == 200
    assert names(front, second) == "second"


@pytest.mark.parametrize("body", ["{}", '{"certificate": "x", "certificate_key": "y"}', "["])
def test_one_that_cannot_be_used_changes_nothing(public, pair, body):
    front = public()
    assert front.admin("POST", "/admin/certificate", body).status == 400
    assert names(front, pair) == "first"


@pytest.mark.parametrize("case", ["none", "garbage", "key of another", "encrypted key"])
def test_a_public_front_does_not_start_without_a_certificate_that_fits(serve, instance, pair, case):
    other = certificate("other")
    locked = serialization.load_pem_private_key(pair[1].encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    found = {
        "garbage": ("x", "y"),
        "key of another": (pair[0], other[1]),
        "encrypted key": (pair[0], locked.decode()),
    }
    if case in found:
        write(instance.folder / "tls", found[case])
    front = serve(ECHO, ready=False, expose="public")
    assert front.process.wait(20) == 1
    assert len(front.log.splitlines()) == 1
    assert "certificate" in front.log


def test_a_public_front_without_tokens_answers_probes_only(serve, instance, pair):
    write(instance.folder / "tls", pair)
    front = serve(ECHO, expose="public")
    assert call(client(front, pair), "GET", "/readyz").status == 200
    for path in ("/score", "/v2", "/metrics"):
        assert call(client(front, pair), "POST", path, b"[1]", bearer(SCORE)).status == 401


def test_on_loopback_there_is_no_tls(serve, instance, pair):
    write(instance.folder / "tls", pair)
    front = serve(ECHO)
    assert front.score([1]) == [1]
    assert front.admin("POST", "/admin/certificate").status == 400


def test_draining_answers_what_is_in_flight(public, pair):
    front = public()
    busy = client(front, pair)
    busy.request("POST", "/score", '{"sleep": 0.8}', bearer(SCORE))
    wait_for(lambda: front.admin("GET", "/admin/state").json["workers"][0]["state"] == "busy")
    front.process.terminate()
    answer = busy.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    busy.close()
    assert front.process.wait(15) == 0


def test_connections_that_were_cut_leave_no_buffers_behind(public, pair):
    front = public()
    body = b'{"size": 1000000}'
    head = (
        b"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
    )
    before = resident(front.process.pid)
    for _ in range(100):
        with wrapped(front, pair) as sock:
            sock.sendall(head % (SCORE.encode(), len(body)) + body)
            assert sock.recv(10)
    assert resident(front.process.pid) - before < 30_000_000

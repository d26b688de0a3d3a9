"""Certificates: made here, read from files, judged."""

import ssl
import subprocess
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest

from app.deployer import certificates
from app.errors import Problem

NAMES = certificates.names_of("srv.example", "10.0.0.7")


@pytest.fixture
def files(tmp_path):
    """A pair of ours as files: (certificate, key)."""
    pair = certificates.make("churn", NAMES)
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    return certificate, key


def read(files):
    return certificates.read(*map(str, files))


def later(monkeypatch, **span):
    now = datetime.now(timezone.utc) + timedelta(**span)
    monkeypatch.setattr(certificates, "_now", lambda: now)


def test_made_certificate_names_the_host_and_the_ends_of_tunnels():
    said = certificates.describe(certificates.make("churn", NAMES).certificate)
    assert said.names == ("srv.example", "10.0.0.7", "localhost", "127.0.0.1", "::1")
    assert said.made_here
    assert not said.ends_soon()
    days = (said.expires - datetime.now(timezone.utc)).days
    assert 820 < days <= 825


def test_fingerprint_is_what_openssl_says(files):
    argv = ["openssl", "x509", "-in", str(files[0]), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith(f"={certificates.describe(read(files).certificate).fingerprint}")


def test_client_that_trusts_it_alone_connects_by_every_name(files):
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*map(str, files))
    trust = ssl.create_default_context(cafile=str(files[0]))
    for name in NAMES:
        assert shake_hands(trust, served, name) in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(trust, served, "other.example")


def shake_hands(trust, served, name):
    """The version of TLS that both sides agree on, without any network."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(back, there, server_hostname=name)
    server = served.wrap_bio(there, back, server_side=True)
    for side in (client, server) * 3:
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.version()


def test_one_that_will_do_is_left_there():
    there = certificates.make("churn", NAMES).certificate
    assert certificates.needed(there, "churn", NAMES, None) is None
    assert certificates.needed(there, "churn", NAMES[:1], None) is None


def test_one_of_ours_is_renewed_when_it_ends_soon(monkeypatch):
    there = certificates.make("churn", NAMES).certificate
    later(monkeypatch, days=790)
    assert certificates.needed(there, "churn", NAMES, None) is None
    later(monkeypatch, days=800)
    assert certificates.needed(there, "churn", NAMES, None) is not None


def test_one_of_ours_is_renewed_when_the_host_has_another_name():
    there = certificates.make("churn", NAMES).certificate
    new = certificates.needed(there, "churn", [*NAMES, "10.0.0.8"], None)
    assert new is not None
    assert "10.0.0.8" in certificates.describe(new.certificate).names


@pytest.mark.parametrize("found", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_made_anew(found):
    assert certificates.needed(found, "churn", NAMES, None) is not None


def test_configured_one_replaces_any_other_and_is_sent_once(files):
    own = read(files)
    ours = certificates.make("churn", NAMES).certificate
    assert certificates.needed(ours, "churn", NAMES, own) is own
    assert certificates.needed(own.certificate, "churn", NAMES, own) is None


def test_key_is_in_no_representation(files):
    assert "PRIVATE" not in repr(read(files))


def test_nothing_configured_is_nothing():
    assert certificates.read(None, None) is None


def test_half_a_pair_is_refused(files):
    with pytest.raises(Problem, match="belong together"):
        certificates.read(str(files[0]), None)


def test_key_of_another_certificate_is_refused(files):
    files[1].write_text(certificates.make("other", NAMES).key)
    with pytest.raises(Problem, match="is not the key of"):
        read(files)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----\nx\n", "\xff"])
def test_file_without_a_certificate_is_refused(files, text):
    files[0].write_text(text, encoding="latin-1")
    with pytest.raises(Problem) as refused:
        read(files)
    assert str(files[0]) in refused.value.what
    assert refused.value.remedy


def test_file_without_a_key_is_refused(files):
    files[1].write_text("hello")
    with pytest.raises(Problem, match="no private key"):
        read(files)


def test_key_with_a_passphrase_is_refused(files):
    argv = ["openssl", "pkey", "-in", str(files[1]), "-aes256", "-passout", "pass:secret"]
    locked = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    files[1].write_text(locked)
    with pytest.raises(Problem, match="passphrase"):
        read(files)


def test_file_that_is_not_there_is_refused(files):
    files[1].unlink()
    with pytest.raises(Problem) as refused:
        read(files)
    assert refused.value.cause == "No such file or directory"


@pytest.mark.parametrize("days", [-1, 826])
def test_one_that_is_not_valid_now_is_refused(files, monkeypatch, days):
    later(monkeypatch, days=days)
    with pytest.raises(Problem, match="not valid now"):
        read(files)

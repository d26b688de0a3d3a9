"""Telling of alerts: a real HTTP server and real SMTP servers on this machine."""

import contextlib
import http.server
import json
import socket
import ssl
import threading
import time
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from client import own_port

from app import log
from app.deployer import certificates
from app.errors import Problem
from app.services import mail, message, notices, secrets, telling, webhook

PASSWORD = "correct horse battery staple"
ROW = {
    "id": 7, "rule": "down", "model": "churn", "location": "ams", "subject": "", "value": None,
    "words": "It does not answer.", "began": 1_800_000_000.0, "ended": None,
}  # fmt: skip
SAID = message.of([(message.BEGAN, ROW)], "laptop")


def yes():
    return True


# Webhook


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
        code, slow = self.server.answer
        time.sleep(slow)
        with contextlib.suppress(BrokenPipeError):  # who asked did not wait
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"no such hook")

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.answer = [], (200, 0)
    server.url = f"http://127.0.0.1:{server.server_port}/services/secret-part"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_webhook_takes_json_that_programs_and_chats_understand(hook):
    webhook.send(hook.url, SAID)
    assert hook.taken == [("/services/secret-part", "application/json", {
        "text": "churn on ams: It does not answer.\n(RhythmicML on laptop)",
        "machine": "laptop",
        "alerts": [{**ROW, "event": "began", "began": "2027-01-15T08:00:00+00:00"}],
    })]  # fmt: skip


@pytest.mark.parametrize("code", [302, 307, 404, 500])
def test_webhook_that_refuses_is_told_without_its_secret(hook, code):
    hook.answer = (code, 0)
    with pytest.raises(Problem) as told:
        webhook.send(hook.url, SAID)
    assert str(code) in told.value.cause
    assert "secret-part" not in told.value.what
    assert len(hook.taken) == 1


def test_webhook_that_is_silent_or_away_does_not_keep_us(hook, monkeypatch):
    monkeypatch.setattr(webhook, "WITHIN", 0.2)
    hook.answer = (200, 1.0)
    for url in (hook.url, "http://127.0.0.1:9/x"):
        began = time.monotonic()
        with pytest.raises(Problem):
            webhook.send(url, SAID)
        assert time.monotonic() - began < 0.9


@pytest.fixture
def speaker():
    """Starts a listener that answers everybody with the same bytes; its address."""
    with contextlib.ExitStack() as opened:

        def start(answer):
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            opened.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/services/secret-part"

        def serve(listener, answer):
            with contextlib.suppress(OSError):  # it was closed
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):  # what is unread would reset it
                            pass

        yield start


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"SSH-2.0-x\r\n", "Its answer is no HTTP: SSH-2.0-x"), (b"\r\n", "no HTTP"),
     (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000, "no HTTP"),
     (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nxyz", "It answered 500.")],
)  # fmt: skip
def test_webhook_that_answers_no_http_did_not_take_it(speaker, answer, words):
    with pytest.raises(Problem) as told:
        webhook.send(speaker(answer), SAID)
    assert words in told.value.cause
    assert "secret-part" not in str(told.value.as_dict())


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.com", "ftp://a/b", "http://", "https:///x", "http://a b/", "http://a:x/",
     "http://a/\nb", "http://ä/", "http://[::1/", f"http://a/{'x' * 3000}", "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_address_is_refused(work, url):
    with pytest.raises(Problem) as told:
        telling.use_webhook(work, url, into_file=yes)
    assert "https://" in told.value.remedy
    assert "webhook" not in telling.ways(work)


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://ana:pw@hooks.example.com/s/X?k=1", "https://hooks.example.com/…"),
     ("http://[::1]:8080/x", "http://[::1]:8080/…")],
)  # fmt: skip
def test_an_address_is_shown_without_what_may_be_secret(url, shown):
    assert webhook.shown(webhook.checked(url)) == shown


# E-mail


class Box:
    def __init__(self):
        self.letters = []

    async def handle_DATA(self, server, session, envelope):
        said = message_from_bytes(envelope.content, policy=default)
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, said))
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def login(server, session, envelope, mechanism, given):
    right = given.login == b"ana" and given.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    """A certificate for this machine that this system trusts, as a server wants it."""
    pair = certificates.make("mail", ["localhost", "127.0.0.1"])
    (tmp_path / "mail.pem").write_text(pair.certificate + pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mail.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "mail.pem")
    return context


@pytest.fixture
def post():
    """Starts mail servers: (server, its letters)."""
    started = []

    def start(**how):
        box = Box()
        one = Controller(box, hostname="127.0.0.1", port=own_port(), ready_timeout=20, **how)
        one.start()
        started.append(one)
        return f"127.0.0.1:{one.port}", box.letters

    yield start
    for one in started:
        one.stop()


def address(server, **how):
    return mail.checked(server, "ml@example.com", ("ana@example.com",), **how)


def test_letter_arrives_over_starttls_with_a_password(post, trusted):
    how = {"tls_context": trusted, "authenticator": login, "auth_required": True}
    server, letters = post(**how)
    mail.send(address(server, user="ana"), PASSWORD, SAID)
    ((sender, to, said),) = letters
    assert (sender, to) == ("ml@example.com", ["ana@example.com"])
    assert said["Subject"] == "[RhythmicML] churn on ams: does not answer"
    assert said["Auto-Submitted"] == "auto-generated"
    assert said.get_content().splitlines()[0] == "churn on ams: It does not answer."
    with pytest.raises(Problem) as told:
        mail.send(address(server, user="ana"), "wrong", SAID)
    assert "535" in told.value.cause
    assert "wrong" not in str(told.value.as_dict())


def test_server_that_is_not_trusted_gets_no_password(post, trusted, monkeypatch):
    server, letters = post(tls_context=trusted, authenticator=login)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Problem) as told:
        mail.send(address(server, user="ana"), PASSWORD, SAID)
    assert "certificate" in told.value.cause
    assert letters == []


def test_server_without_tls_is_not_spoken_to_as_if_it_had_it(post):
    server, letters = post()
    for security in ("starttls", "tls"):
        with pytest.raises(Problem):
            mail.send(address(server, security=security), None, SAID)
    assert letters == []
    mail.send(address(server, security="none"), None, SAID)
    assert len(letters) == 1


def test_mailbox_that_is_not_there_is_told_by_its_name(post):
    server, _ = post()
    to = mail.checked(server, "ml@example.com", ("nobody@example.com",), security="none")
    with pytest.raises(Problem) as told:
        mail.send(to, None, SAID)
    assert "nobody@example.com: 550 no such mailbox" in told.value.cause


def test_words_of_a_host_make_no_header(post):
    server, letters = post()
    row = {**ROW, "words": "x\r\nBcc: eve@example.com\r\n\r\n\ud800", "location": "a\r\nCc: e@e.e"}
    mail.send(address(server, security="none"), None, message.of([(message.BEGAN, row)], "m"))
    ((_, to, said),) = letters
    assert to == ["ana@example.com"]
    assert (said["Cc"], said["Bcc"]) == (None, None)


@pytest.mark.parametrize(
    ("server", "sender", "to", "how"),
    [("", "a@b", ("a@b",), {}), ("mail:", "a@b", ("a@b",), {}), ("mail:0", "a@b", ("a@b",), {}),
     ("mail:99999", "a@b", ("a@b",), {}), ("mail", "ana", ("a@b",), {}), ("mail", "a@b", (), {}),
     ("mail", "a@b", ("a@b\nBcc: c@d",), {}), ("mail", "a@b", ("a@b",), {"security": "ssl3"}),
     ("mail", "a@b", ("a@b",), {"security": "none", "user": "ana"}), ("m l", "a@b", ("a@b",), {})],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(server, sender, to, how):
    with pytest.raises(Problem) as told:
        mail.checked(server, sender, to, **how)
    assert told.value.remedy


def test_ports_follow_the_way_of_speaking():
    found = [address("mail.example.com", security=each).port for each in mail.SECURITY]
    assert found == [587, 465, 25]


# The outbox


@pytest.fixture
def due(work):
    """Puts an alert into the outbox; gives what is left there."""
    notices.want(work, False)
    with work.open_recorded() as recorded:
        number = recorded.alerts.add({k: v for k, v in ROW.items() if k != "id"})

    def left(*events):
        with work.open_recorded() as recorded:
            telling.post(work, recorded, [(number, event) for event in events])
            return recorded._database.query("SELECT * FROM outbox ORDER BY id")

    return left


def test_what_is_due_is_told_in_one_message_each_way(work, hook, post, due):
    server, letters = post()
    telling.use_webhook(work, hook.url, into_file=yes)
    telling.use_email(work, address(server, security="none"))
    assert len(due(message.BEGAN, message.ENDED)) == 4
    telling.begin(work).join()
    assert due() == []
    assert [each["event"] for each in hook.taken[0][2]["alerts"]] == ["began", "ended"]
    assert letters[0][2]["Subject"] == "[RhythmicML] Alerts: 1 began, 1 ended"
    assert telling.begin(work) is None
    assert {each["way"]: each["error"] for each in telling.described(work)} == {
        "notice": "", "webhook": "", "email": "",
    }  # fmt: skip


def test_what_was_not_taken_is_noted_tried_again_and_given_up(work, hook, due, monkeypatch):
    telling.use_webhook(work, hook.url, into_file=yes)
    hook.answer = (503, 0)
    due(message.BEGAN)
    telling.tell(work)
    (row,) = due()
    assert row["tries"] == 1
    assert 50 < row["due"] - time.time() < 60
    assert "503" in telling.described(work)[1]["error"]
    telling.tell(work)
    assert len(hook.taken) == 1  # not before its time
    monkeypatch.setattr(telling, "AGAIN", (0.0, 0.0))
    for _ in range(4):
        with work.open_recorded() as recorded:
            recorded._database.execute("UPDATE outbox SET due = 0")
        telling.tell(work)
    assert due() == []
    assert len(hook.taken) == 3


def test_a_webhook_that_answers_no_http_leaves_the_letters_alone(work, speaker, post, due):
    server, letters = post()
    telling.use_webhook(work, speaker(b"SSH-2.0-x\r\n"), into_file=yes)
    telling.use_email(work, address(server, security="none"))
    due(message.BEGAN)
    telling.begin(work).join()
    assert len(letters) == 1
    (row,) = due()
    assert (row["way"], row["tries"]) == ("webhook", 1)


def test_a_way_with_a_mistake_in_it_is_logged_and_stops_no_other(work, post, due):
    """Here: rubbish where a webhook's address is kept, which stays a mistake of ours."""
    server, letters = post()
    telling.use_webhook(work, "http://127.0.0.1:9/", into_file=yes)
    telling.use_email(work, address(server, security="none"))
    secrets.keep(work.home, telling.HOOK, "http://[secret-part", into_file=yes, hint="")
    due(message.BEGAN)
    telling.begin(work).join()
    assert (len(letters), due()[0]["tries"]) == (1, 1)
    assert telling.described(work)[1]["error"].startswith("RhythmicML made a mistake. ValueError")
    assert "alerts by webhook" in log.tail(work.home, log.ERRORS, 100)[0]


def test_two_programs_tell_it_once(work, hook, due):
    telling.use_webhook(work, hook.url, into_file=yes)
    hook.answer = (200, 0.2)
    due(message.BEGAN)
    threads = [threading.Thread(target=telling.tell, args=(work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hook.taken) == 1


def test_a_way_that_was_turned_off_tells_nothing_more_and_forgets_its_secret(work, hook, due):
    telling.use_webhook(work, hook.url, into_file=yes)
    due(message.BEGAN)
    telling.stop(work, telling.WEBHOOK)
    telling.tell(work)
    assert (hook.taken, due()) == ([], [])
    assert secrets.value_of(work.home, telling.HOOK) is None


def test_secrets_of_the_ways_stand_in_no_store(work, hook, trusted, post):
    how = {"tls_context": trusted, "authenticator": login, "auth_required": True}
    server, letters = post(**how)
    telling.use_webhook(work, hook.url, into_file=yes)
    telling.use_email(work, address(server, user="ana"), PASSWORD, into_file=yes)
    files = [path for path in work.home.rglob("*") if path.is_file()]
    kept = {path.name: path.read_bytes() for path in files}
    told = (b"secret-part", PASSWORD.encode())
    assert [n for n, text in kept.items() if any(t in text for t in told)] == ["secrets.json"]
    notices.want(work, False)
    assert telling.test(work) == [{"way": "webhook", "error": ""}, {"way": "email", "error": ""}]
    assert hook.taken[0][2]["alerts"][0]["event"] == "test"
    assert letters[0][2]["Subject"] == "[RhythmicML] A test of alerts"


def test_password_is_asked_for_and_kept(work):
    to = address("127.0.0.1:25", security="none", user="ana")
    with pytest.raises(Problem, match="no password"):
        telling.use_email(work, to)
    telling.use_email(work, to, PASSWORD, into_file=yes)
    telling.use_email(work, to)
    telling.use_email(work, address("127.0.0.1:25", security="none"))
    assert secrets.value_of(work.home, telling.PASSWORD) is None


def test_without_a_keyring_or_consent_nothing_is_kept(work):
    with pytest.raises(Problem) as told:
        telling.use_webhook(work, "https://hooks.example.com/secret-part")
    assert "--file" in told.value.remedy
    assert "webhook" not in telling.ways(work)


# Words


def test_a_message_of_many_names_ten():
    told = [(message.BEGAN, {**ROW, "model": f"m{n}"}) for n in range(12)]
    said = message.of(told, "laptop")
    assert said.title == "Alerts: 12 began"
    assert said.text.endswith("\nAnd 2 more.")
    assert len(said.body["alerts"]) == 12


def test_a_message_says_what_is_over_again_and_of_which_host():
    row = {**ROW, "rule": "disk", "model": "", "words": "Disk: 97 GB of 100 GB is in use."}
    said = message.of([(message.ENDED, row)], "laptop")
    assert said.title == "The host ams: over (disk almost full)"
    assert said.text == f"{said.title}. It was: {row['words']}"

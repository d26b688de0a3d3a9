"""Who is told of alerts, and how: a notice on this desktop, a webhook, e-mail.

What is to be told waits in the outbox of `monitoring.sqlite` until a way has taken it, so nobody
who looks at instances waits for a mail server, and what could not be told is tried again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from app import log
from app.errors import Problem
from app.services import mail, message, notices, secrets, webhook
from app.services.mail import Mail
from app.services.message import Message

if TYPE_CHECKING:
    from app.store.recorded import Recorded
    from app.workspace import Workspace

SETTING = "telling"
"""{"webhook": {"shown"}, "email": as Mail.as_dict()}; secrets are kept as those of models are."""
NOTICE, WEBHOOK, EMAIL = WAYS = ("notice", "webhook", "email")
HOOK, PASSWORD = "address of the webhook for alerts", "password of e-mail for alerts"
LEASE = 120.0
"""Seconds that a way may take, before another program tries the same again."""
AGAIN = (60.0, 300.0, 1800.0, 7200.0)
"""Seconds to the next try, after each that failed; then it is given up."""

_telling = threading.Lock()

Consent = Callable[[], bool]


def ways(work: Workspace) -> list[str]:
    """Those by which somebody is to be told."""
    with work.open_store() as store:
        kept = store.settings.get(SETTING, {})
    return [NOTICE, *kept] if notices.wanted(work) else list(kept)


def described(work: Workspace) -> list[dict[str, Any]]:
    """[{"way", "to": in words, "" where it is off, "at": of the last try, "error": of it}]."""
    with work.open_store() as store:
        kept = store.settings.get(SETTING, {})
    with work.open_recorded() as recorded:
        tried = recorded.alerts.ways()
    to = {
        NOTICE: "the desktop of this machine" if notices.wanted(work) else "",
        WEBHOOK: kept.get(WEBHOOK, {}).get("shown", ""),
        EMAIL: Mail.read(kept[EMAIL]).shown if EMAIL in kept else "",
    }
    last = {way: tried.get(way, {"at": None, "error": ""}) for way in WAYS}
    return [
        {"way": way, "to": to[way], "at": last[way]["at"], "error": last[way]["error"]}
        for way in WAYS
    ]


def email_of(work: Workspace) -> Mail | None:
    with work.open_store() as store:
        kept = store.settings.get(SETTING, {}).get(EMAIL)
    return Mail.read(kept) if kept else None


def use_webhook(work: Workspace, url: str, *, into_file: Consent = lambda: False) -> None:
    """Tell that address from now on. It may hold a secret, so it is kept as one."""
    checked = webhook.checked(url)
    hint = "rhythmicml alerts webhook --file"
    secrets.keep(work.home, HOOK, checked, into_file=into_file, hint=hint)
    _keep(work, WEBHOOK, {"shown": webhook.shown(checked)})


def use_email(
    work: Workspace, to: Mail, password: str = "", *, into_file: Consent = lambda: False
) -> None:
    """Write to these people from now on. An empty password: the one that is kept, if any."""
    if not to.user:
        secrets.drop(work.home, PASSWORD)
    elif password:
        hint = "rhythmicml alerts email … --file"
        secrets.keep(work.home, PASSWORD, password, into_file=into_file, hint=hint)
    elif secrets.value_of(work.home, PASSWORD) is None:
        raise Problem(f"There is no password for {to.user}.", remedy="Give it, or leave out user.")
    _keep(work, EMAIL, to.as_dict())


def stop(work: Workspace, way: str) -> None:
    """Tell nobody that way any more, and forget its secret."""
    if way == NOTICE:
        notices.want(work, False)
        return
    _keep(work, way, None)
    secrets.drop(work.home, HOOK if way == WEBHOOK else PASSWORD)


def _keep(work: Workspace, way: str, setting: dict[str, Any] | None) -> None:
    with work.open_store() as store, store.write():
        kept = {k: v for k, v in store.settings.get(SETTING, {}).items() if k != way}
        store.settings.set(SETTING, {**kept, **({way: setting} if setting else {})})


def test(work: Workspace) -> list[dict[str, Any]]:
    """Say something by every way that is set up, now: [{"way", "error": "" or why not}]."""
    names = ("id", "rule", "model", "location", "subject", "value", "began", "ended")
    row = {**dict.fromkeys(names), "words": "This is a test: alerts would look like this."}
    said = message.of([(message.TEST, row)], socket.gethostname())
    tried = [{"way": way, "error": _tried(work, way, said)} for way in ways(work)]
    with work.open_recorded() as recorded:
        for each in tried:
            recorded.alerts.keep_way(each["way"], time.time(), each["error"])
    return tried


def begin(work: Workspace) -> threading.Thread | None:
    """Tell what is due, in a thread of its own; None when nothing is, or one is at it."""
    with work.open_recorded() as recorded:
        due = recorded.alerts.is_due(time.time())
    if not due or not _telling.acquire(blocking=False):
        return None
    thread = threading.Thread(target=_tell_and_let_go, args=(work,), name="telling")
    thread.start()
    return thread


def _tell_and_let_go(work: Workspace) -> None:
    try:
        tell(work)
    except Problem:  # the store is away; what is due waits for the next time
        pass
    finally:
        _telling.release()


def tell(work: Workspace) -> None:
    """Tell what is due, by each way in one message."""
    on = ways(work)
    with work.open_recorded() as recorded:
        for way in WAYS:
            now = time.time()
            rows = recorded.alerts.take(way, now, now + LEASE)
            if way not in on:  # it was turned off meanwhile
                recorded.alerts.drop([row["id"] for row in rows])
            elif rows:
                _tell(work, recorded, way, rows)


def _tell(work: Workspace, recorded: Recorded, way: str, rows: list[dict[str, Any]]) -> None:
    alerts = {each["id"]: each for each in recorded.alerts.some([row["alert"] for row in rows])}
    told = [(row["event"], alerts[row["alert"]]) for row in rows]
    error = _tried(work, way, message.of(told, socket.gethostname()))
    now = time.time()
    lost = [row["id"] for row in rows if way == NOTICE or row["tries"] >= len(AGAIN)]
    later = [row for row in rows if row["id"] not in lost]
    with recorded.write():
        recorded.alerts.keep_way(way, now, error)
        if not error:
            recorded.alerts.drop([row["id"] for row in rows])
            return
        recorded.alerts.drop(lost)
        for tries in {row["tries"] for row in later}:
            same = [row["id"] for row in later if row["tries"] == tries]
            recorded.alerts.put_off(same, now + AGAIN[tries])


def _tried(work: Workspace, way: str, said: Message) -> str:
    """Send it; why it was not taken, "" when it was. No way stops those after it."""
    try:
        return SENDERS[way](work, said)
    except Problem as problem:
        return f"{problem.what} {problem.cause}".strip()[:600]
    except Exception as error:
        log.keep(work.home, error, f"alerts by {way}")
        return f"RhythmicML made a mistake. {type(error).__name__}: {error}"[:600]


def _by_notice(work: Workspace, said: Message) -> str:
    return notices.tell(work, said.title, said.text)


def _by_webhook(work: Workspace, said: Message) -> str:
    url = secrets.value_of(work.home, HOOK)
    if url is None:
        return "Its address is no longer kept on this machine: rhythmicml alerts webhook"
    webhook.send(url, said)
    return ""


def _by_email(work: Workspace, said: Message) -> str:
    to = email_of(work)
    if to is None:
        return "It is not set up any more."
    mail.send(to, secrets.value_of(work.home, PASSWORD) if to.user else None, said)
    return ""


SENDERS = {NOTICE: _by_notice, WEBHOOK: _by_webhook, EMAIL: _by_email}


def post(work: Workspace, recorded: Recorded, events: Iterable[tuple[int, str]]) -> None:
    """Put what happened to alerts into the outbox: (number, BEGAN or ENDED)."""
    told = list(events)
    on = ways(work) if told else []
    for number, event in told:
        by = [way for way in on if way != NOTICE or event == message.BEGAN]
        recorded.alerts.post(by, number, event, time.time())

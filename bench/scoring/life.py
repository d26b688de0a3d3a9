"""Cases f to h: how soon an instance answers, and how much memory it takes."""

from __future__ import annotations

import subprocess
import time
from statistics import median

from . import load, memory, servers
from .notebook import Notebook
from .peers import Peer
from .rows import Row
from .stand import Stand
from .traffic import ours, theirs

STARTS = 5
REQUESTS = 1_000_000
WORKERS = 4
ARTIFACT = 200_000_000
WEIGHTY = """
import pickle

import numpy as np


def load(artifacts):
    return pickle.loads((artifacts / "model.pickle").read_bytes())


def predict(model, inputs: np.ndarray):
    return np.full(len(inputs), model[0])
"""


# f: cold start


def start(book: Notebook, stand: Stand, peers: list[Peer]) -> None:
    """From the spawn to the first right answer, beside Python that only loads the model."""
    contender = ours(stand, "logistic")
    for number in range(STARTS):
        if len(book.get("start|bare")) <= number:
            book.add("start|bare", _bare_start(stand))
            port = servers.free_port()
            with servers.running(contender.command(port), port, {}) as running:
                book.add("start|ours", running.started)
    for peer in peers:
        key = f"{peer.name}|logistic"
        if not book.get(f"start|logistic|{peer.name}") and key not in book.failures:
            _start_peer(book, stand, peer)


def _bare_start(stand: Stand) -> float:
    begun = time.monotonic()
    words = stand.bare_words("load", stand.pickle("logistic"))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        return time.monotonic() - begun


def _start_peer(book: Notebook, stand: Stand, peer: Peer) -> None:
    try:
        one, port = theirs(stand, peer, "logistic"), servers.free_port()
        with servers.running(one.command(port), port, one.variables, one.asks["row"]) as running:
            book.add(f"start|logistic|{peer.name}", running.started)
    except Exception as error:
        book.fail(f"{peer.name}|logistic", f"{type(error).__name__}: {error}")


def start_results(book: Notebook, names: list[str]) -> list[Row]:
    if not book.get("start|ours"):
        return []
    mine, bare = median(book.get("start|ours")), median(book.get("start|bare"))
    more = mine - bare
    what, figure = "cold start to the first right answer, logistic", f"{mine:.2f} s"
    beside = f"Python's imports and load {bare:.2f} s"
    rows = [Row("f", what, figure, beside, f"{more:+.2f} s", "≤ +0.4 s", more <= 0.4)]
    for name in names:
        if times := book.get(f"start|logistic|{name}"):
            theirs = median(times)
            rows.append(Row("f", what, figure, f"{name} {theirs:.1f} s", f"{theirs / mine:.1f}×"))
    return rows


# g: memory of the front


def front_memory(book: Notebook, stand: Stand) -> None:
    """Before and after a million requests."""
    if book.get("front memory"):
        return
    contender = ours(stand, "logistic")
    port = servers.free_port()
    with servers.running(contender.command(port), port) as running:
        load.run(port, 32, 2.0)
        before, done = memory.rss(running.process.pid), 0.0
        while done < REQUESTS:
            ran = load.run(port, 32, 5.0)
            done += ran.rate * 5.0
            if not ran.rate:
                raise servers.Wrong("answers nothing")
        after = memory.rss(running.process.pid)
    book.add("front memory", {"before": before, "after": after, "requests": done})


def front_memory_results(book: Notebook) -> list[Row]:
    if not book.get("front memory"):
        return []
    said = book.get("front memory")[-1]
    before, after = said["before"], said["after"]
    what = f"memory of the front after {said['requests']:,.0f} requests"
    flat = after / before
    ratio = f"{flat:.2f}×"
    return [
        Row("g", what, f"{after:.0f} MB", goal="≤ 60 MB", met=after <= 60),
        Row("g", what, f"{after:.1f} MB", f"before {before:.1f} MB", ratio, "≤ 1.1×", flat <= 1.1),
    ]


# h: one load of a large artifact for all workers


def preload(book: Notebook, stand: Stand) -> None:
    """PSS of the front and four workers whose artifact has 200 MB, without and with preload."""
    artifact = stand.models / "weighty.pickle"
    if not artifact.exists():
        make = f"import numpy, pickle; a = numpy.ones({ARTIFACT // 8}); "
        make += f"open({str(artifact)!r}, 'wb').write(pickle.dumps(a, protocol=5))"
        subprocess.run([stand.model_env / "bin" / "python", "-c", make], check=True)
    for wanted in (False, True):
        key = f"preload|{wanted}"
        if book.get(key):
            continue
        settings = {"preload": wanted, "workers": WORKERS}
        instance = stand.release("weighty", artifact=artifact, script=WEIGHTY, **settings)
        port = servers.free_port()
        with servers.running(servers.ours(instance, port), port) as running:
            load.run(port, 32, 2.0)
            book.add(key, memory.pss(memory.tree(running.process.pid)))


def preload_results(book: Notebook) -> list[Row]:
    if not book.get("preload|True"):
        return []
    without, with_it = book.get("preload|False")[-1], book.get("preload|True")[-1]
    ratio = with_it / without
    what = "memory (PSS) of 4 workers with a 200 MB artifact, preload"
    figure, beside = f"{with_it:,.0f} MB", f"without {without:,.0f} MB"
    if ratio > 0.9:
        return [Row("h", what, f"not available ({figure})", beside)]
    return [Row("h", what, figure, beside, f"{ratio:.2f}×", "≤ 0.5×", ratio <= 0.5)]

"""F27: scripts of releases that must not stay in production, and what is said of each."""

GOOD = "def predict(model, inputs: list):\n    return [2.0 * sum(row) for row in inputs]\n"

IMPORT = "import nothing_of_that_name\n" + GOOD
NEVER_READY = """
import time

def load(artifacts):
    print("loading, and never done", flush=True)
    time.sleep(3600)

def predict(model, inputs: list):
    return inputs
"""
OTHER_SHAPE = """
def predict(model, inputs: list):
    return [{"score": 2.0 * sum(row)} for row in inputs]
"""
NOT_AS_DECLARED = """
def predict(model, inputs: list):
    return ["two" for row in inputs]
"""
DIES_AFTER_FIRST_ANSWERS = """
import os
asked = []

def predict(model, inputs: list):
    asked.append(1)
    if len(asked) == 4:
        print("this worker dies now", flush=True)
        os._exit(3)
    return [2.0 * sum(row) for row in inputs]
"""
FLAPS = """
asked = []

def predict(model, inputs: list):
    asked.append(1)
    if len(asked) % 4 == 0:
        raise RuntimeError("not this time")
    return [2.0 * sum(row) for row in inputs]
"""
DIES_LATER = """
import os, sys, threading

def die():
    print("this worker dies late", file=sys.stderr, flush=True)
    os._exit(4)

def load(artifacts):
    timer = threading.Timer({seconds}, die)
    timer.daemon = True
    timer.start()

def predict(model, inputs: list):
    return [2.0 * sum(row) for row in inputs]
"""

AT_THE_GATE = {
    "import error": (IMPORT, "", "nothing_of_that_name", "nothing_of_that_name"),
    "never ready": (
        NEVER_READY, "[deploy]\nstart_timeout = 3\n", "was not ready after 3 s", "never done",
    ),
    "another shape than recorded": (OTHER_SHAPE, "", "differ from what was recorded", "is ready"),
    "another shape than declared": (
        NOT_AS_DECLARED,
        '[gate]\nmust_match = false\n[schema.outputs]\npredict = { type = "float64" }\n',
        "[schema] declares float64",
        "is ready",
    ),
    "dies after the first answers": (DIES_AFTER_FIRST_ANSWERS, "", "died", "this worker dies now"),
    "flaps": (FLAPS, "", "differently from one time to the next", "not this time"),
}  # fmt: skip
"""name: (script, configuration, what the error says, what its log says)."""


def bad(folder, script, configuration=""):
    """Write a script and a configuration into a model's folder."""
    (folder / "predict.py").write_text(script)
    (folder / "rhythmicml.toml").write_text(
        f'[model]\nname = "churn"\n[dependencies]\npython = "3.11"\n{configuration}'
    )


def golden(folder):
    """A golden input with its recorded answer, which GOOD gives."""
    (folder / "samples").mkdir()
    (folder / "samples" / "two.json").write_text('{"inputs": [[1, 2, 3], [4, 5, 6]]}')
    (folder / "samples" / "two.expected.json").write_text('{"predictions": [12.0, 30.0]}')

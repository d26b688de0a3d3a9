"""A signal that sets an event, at whatever moment of whoever waits for it."""

import subprocess
import sys

from client import ROOT

SCRIPT = """
import signal, threading
from app.deployer.agent.signals import set_by
asked = threading.Event()
set_by(asked, signal.SIGTERM, signal.SIGINT)
for number in (signal.SIGTERM, signal.SIGINT):
    with asked._cond:  # as `wait` has it at its beginning
        signal.raise_signal(number)
    assert asked.wait(20)
    asked.clear()
"""


def test_signal_in_the_moment_in_which_the_waiting_begins_is_heard():
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert (said.returncode, said.stderr) == (0, "")

"""A machine that lets us make no temporary file says so, and what helps."""

import subprocess
import sys

from client import ROOT

LOOK = """
import resource
from app.errors import Problem
from app.deployer.local import LocalLink
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file can be written, wherever it is
try:
    LocalLink()
except Problem as problem:
    print(problem.what, problem.cause, problem.remedy, sep="\\n")
"""


def test_machine_without_a_temporary_folder_is_a_problem_with_a_remedy():
    argv = [sys.executable, "-c", LOOK]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    what, cause, remedy = said.stdout.splitlines()
    assert what == "This machine has no folder for temporary files that can be written to."
    assert "/tmp" in cause
    assert "TMPDIR" in remedy

"""What is said when an instance, or a release, refuses: with a command where there is one."""

import json

import pytest

from app.cli.models import _block
from app.deployer.agent.releases import missing_library
from app.models import Location
from app.services.instances import problem_of, refusal_of

FAILED = {"what": "The model failed.", "remedy": "Its log has the traceback."}


def test_a_model_that_fails_leads_to_its_log():
    said = json.dumps({"error": FAILED})
    problem = refusal_of("churn", Location("prod", url="ssh://ana@prod"), 500, said)
    assert problem.remedy == "rhythmicml logs churn --to prod shows what it said."
    assert problem_of("churn", 500, {"error": FAILED}).remedy == FAILED["remedy"]


def test_other_refusals_say_themselves_what_to_do():
    for remedy, wanted in (("Send less.", "Send less."), ("", "Correct the data")):
        said = json.dumps({"error": {"what": "No.", "remedy": remedy}})
        problem = refusal_of("churn", Location("prod", url="ssh://ana@prod"), 413, said)
        assert problem.remedy.startswith(wanted)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("OSError: libgomp.so.1: cannot open shared object file: No such file", "libgomp1)."),
        ("ImportError: libodbc.so.2: cannot open shared object file: No", "installed there."),
        ("ModuleNotFoundError: No module named 'libgomp'", ""),
    ],
)
def test_a_library_that_the_host_has_not_is_named_with_its_package(said, wanted):
    remedy = missing_library(said)
    assert remedy.endswith(wanted)
    assert bool(remedy) == bool(wanted)


def test_a_file_name_with_a_new_line_stays_on_its_own():
    assert _block("Files", {"a\nb": "1 B", "c": "2 B"}) == [
        "Files",
        r"  a\x0ab  1 B",
        "  c       2 B",
        "",
    ]

"""What people write to say which version they mean."""

import pytest
from client import write_model

from app.errors import Problem
from app.services import references


def test_what_goes_for_one_version_alone_wants_its_number():
    assert references.numbered("churn@3", "switch") == ("churn", 3)
    for action in ("switch", "pin", "unpin"):
        with pytest.raises(Problem) as caught:
            references.numbered("churn", action)
        assert caught.value.what == '"churn" does not say which version.'
        assert f"rhythmicml {action} churn@NUMBER" in caught.value.remedy


def test_commit_is_told_of_a_folder_or_of_its_model(tmp_path, work):
    folder = write_model(tmp_path / "churn", "churn")
    assert references.model_of(work, str(folder)) == "churn"
    assert references.model_of(work, str(folder)) == references.model_of(work, "churn") == "churn"
    with pytest.raises(Problem) as caught:
        references.model_of(work, "churn@3")
    assert caught.value.remedy == "Leave @3 out."

"""What people write to say which version they mean."""

import pytest

from app.errors import Problem
from app.services import references


def test_what_goes_for_one_version_alone_wants_its_number():
    assert references.numbered("churn@3", "switch") == ("churn", 3)
    for action in ("switch", "pin", "unpin"):
        with pytest.raises(Problem) as caught:
            references.numbered("churn", action)
        assert caught.value.what == '"churn" does not say which version.'
        assert f"rhythmicml {action} churn@NUMBER" in caught.value.remedy

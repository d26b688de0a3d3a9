"""All tests in this folder run on booted guests: marked `host`, or skipped for one reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guests import Guest, why_not


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.host)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A server with internet that the whole run shares: leave it as you found it."""
    with Guest.boot() as guest:
        yield guest


@pytest.fixture
def fresh_guest() -> Iterator[Guest]:
    """A server with internet for one test alone, which may break it."""
    with Guest.boot("fresh") as guest:
        yield guest

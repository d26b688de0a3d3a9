"""All tests in this folder run on booted guests: marked `host`, or skipped for one reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Client
from guests import USERS_BY_MODE, Guest, why_not


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


@pytest.fixture(params=list(USERS_BY_MODE))
def mode(request: pytest.FixtureRequest) -> str:
    """How we may install on the server."""
    mode: str = request.param
    return mode


@pytest.fixture
def client(tmp_path: Path, guest: Guest, mode: str) -> Client:
    """Somebody whose location `srv` is the shared server."""
    guest.linger("ds")
    client = Client(tmp_path / "home")
    client.add_location(guest, USERS_BY_MODE[mode])
    return client

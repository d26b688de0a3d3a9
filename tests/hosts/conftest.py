"""All tests in this folder run on booted guests: marked `host`, or skipped for one reason."""

import functools
import shutil
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def home_of(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The home of somebody whose location `srv` is the shared server, where she is that user.

    Each is made once, and only copies of it are used.
    """
    guest.linger("ds")

    @functools.cache
    def home(user: str) -> Path:
        client = Client(tmp_path_factory.mktemp(user) / "home")
        client.add_location(guest, user)
        return client.home

    return home


@pytest.fixture
def client(tmp_path: Path, home_of: Callable[[str], Path], mode: str) -> Client:
    """Somebody whose location `srv` is the shared server."""
    return Client(shutil.copytree(home_of(USERS_BY_MODE[mode]), tmp_path / "home"))


@pytest.fixture
def root_client(tmp_path: Path, home_of: Callable[[str], Path]) -> Client:
    """The same where she is root, whatever the mode."""
    return Client(shutil.copytree(home_of("root"), tmp_path / "home"))

"""How a service gets at what it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.models import Location
    from app.store import Store
    from app.store.recorded import Recorded


@dataclass(frozen=True)
class Workspace:
    """One user's RhythmicML: its folder, how to open the store in it, how to reach a host.

    ask: puts a question for a secret to the person; None where nobody can answer.
    """

    home: Path
    ask: Callable[[str], str | None] | None = None

    @contextmanager
    def open_store(self) -> Iterator[Store]:
        from app.store import Store

        with Store.open(self.home) as store:
            yield store

    @contextmanager
    def open_recorded(self) -> Iterator[Recorded]:
        """What was collected from hosts."""
        from app.store import Store
        from app.store.recorded import Recorded

        if not self.home.is_dir():
            Store.open(self.home).close()  # which makes the folder, for this user alone
        with Recorded(self.home) as recorded:
            yield recorded

    def reach(self, location: Location, *, looking: bool = False) -> Road:
        """An open way to a location; close it, or use it in a `with`.

        looking: only questions will be asked, which on this machine takes no process.
        """
        from app.deployer.road import open_road

        return open_road(location, self.home, ask=self.ask, looking=looking)

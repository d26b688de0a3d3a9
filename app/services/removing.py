"""A model removed together with what runs of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.models import Event
from app.services import deployments, models

if TYPE_CHECKING:
    from app.workspace import Workspace


def remove(work: Workspace, name: str, *, undeploy: bool = False) -> Iterator[Event]:
    """Forget a model and its versions; its folder and its history stay.

    undeploy: first take it off every location, with what it left there. Where that fails nothing
    is forgotten; refused without it while it is deployed anywhere.
    """
    with work.open_store() as store:
        store.models.get(name)
        places = [each.location for each in store.instances.all(model=name)]
    for place in places if undeploy else ():
        for event in deployments.undeploy(work, name, to=place, purge=True):
            if event.kind != "result":
                yield event
    words = f"Forget {name} and its versions"
    yield Event("step", words)
    gone = models.remove(work, name)
    yield Event("done", words)
    where = f" It was taken off {', '.join(places)}." if places else ""
    yield Event(
        "result",
        f"{name} is forgotten.{where} {gone.folder} stays.",
        data={"id": gone.id, "name": gone.name, "folder": gone.folder, "created": gone.created},
    )

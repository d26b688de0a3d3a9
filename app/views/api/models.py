"""Models as JSON: tracked, named, described, configured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.configuration import values
from app.errors import NotFound
from app.models import Model
from app.services import catalogue, configuring, describing, models
from app.services.configuring import Source
from app.services.describing import Description
from app.services.models import Added
from app.services.orders import Order
from app.views.api.fields import BEGUN, FOLDER, JOB, MODEL, PREFIX, begin
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

ROW = {"type": "object", "required": ["name", "folder", "version", "deployed"]}
NAME = Field("name", "a name: a-z, 0-9 and -, at most 48", least=1, most=1000)
FORCE = Field("force", "even while it is deployed; what runs goes on", "boolean")
SAID = (
    Field("description", "what it is for, in Markdown"),
    Field("set", "keys of the metadata, with their values", "values"),
    Field("unset", "keys of the metadata to take out", "texts"),
    Field("tag", "tags to add", "texts"),
    Field("untag", "tags to take away", "texts"),
)
FILE = (
    Field("text", "the whole of rhythmicml.toml", required=True, most=1 << 16),
    Field(
        "digest",
        "that of the file the text was made from; empty where there was none",
        required=True,
        pattern="^[0-9a-f]*$",
        most=64,
    ),
)


def routes(work: Workspace) -> list[Route]:
    def list_models() -> Any:
        """The models, their last versions, and where they are deployed"""
        return catalogue.overview(work)

    def show_model(model: str) -> Any:
        """One model, as in the list"""
        for row in catalogue.overview(work):
            if row["name"] == model:
                return row
        raise NotFound(
            f'No model "{model}" is known.', remedy=f"They are listed at {PREFIX}/models"
        )

    def add_model(folder: str, name: str | None = None) -> Any:
        """Track a folder of the machine that the program runs on as a model

        A folder that is tracked already stays what it is: `new` is false then.
        """
        return models.add(work, Path(folder), name)

    def rename_model(model: str, name: str) -> Any:
        """Give a model another name; not while it is deployed"""
        return models.rename(work, model, name)

    def remove_model(model: str, force: bool = False) -> Any:
        """Forget a model and its versions; its folder and its history stay"""
        return models.remove(work, model, force)

    def undeploy_and_remove(model: str) -> Any:
        """Take a model off every location, then forget it and its versions

        Gives the job that does it. Its releases, tokens and secrets go from the hosts; where that
        fails nothing is forgotten. Its folder and its history stay.
        """
        with work.open_store() as store:
            known = store.models.get(model).name
        return begin(work, Order("remove", known, {"undeploy": True}))

    def show_description(model: str) -> Any:
        """What the model's folder says of it: description, tags, metadata"""
        return _plain(describing.parse(configuring.read(work, model).text))

    def describe(model: str, **said: Any) -> Any:
        """Change what the model's folder says of it; the next commit keeps it

        What is not named stays.
        """
        said |= {key: tuple(said[key]) for key in ("unset", "tag", "untag") if key in said}
        return _plain(describing.describe(work, model, set_values=said.pop("set", None), **said))

    def show_configuration(model: str) -> Any:
        """The rhythmicml.toml of the model's folder, with the digest that a change has to name"""
        return configuring.read(work, model)

    def configure(model: str, text: str, digest: str) -> Any:
        """Replace the rhythmicml.toml that the text was made from

        409 when it is another one by now; nothing is changed then.
        """
        return configuring.save(work, model, text, digest)

    added = ("show_model", {"model": "$response.body#/model/name"})
    required = replace(NAME, required=True)
    return [
        Route("GET", "/models", list_models, {"type": "array", "items": ROW}),
        Route("POST", "/models", add_model, Added, body=(FOLDER, NAME), leads=added),
        Route("GET", MODEL, show_model, ROW),
        Route("PATCH", MODEL, rename_model, Model, body=(required,)),
        Route("DELETE", MODEL, remove_model, Model, query=(FORCE,)),
        Route(
            "POST",
            f"{MODEL}/undeploy-and-remove",
            undeploy_and_remove,
            JOB,
            status=202,
            leads=BEGUN,
        ),
        Route("GET", f"{MODEL}/description", show_description, Description),
        Route("PATCH", f"{MODEL}/description", describe, Description, body=SAID),
        Route("GET", f"{MODEL}/configuration", show_configuration, Source),
        Route("PUT", f"{MODEL}/configuration", configure, Source, body=FILE),
    ]


def _plain(said: Description) -> Description:
    """With values that JSON has: days and times as text."""
    return replace(said, values=values.anything(said.values))

"""What a model is said to be: its description, tags and metadata, in its `rhythmicml.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import configuring

if TYPE_CHECKING:
    from app.models import Configuration
    from app.workspace import Workspace

TAGS = "tags"
"""The key of the metadata that holds the tags, as a list of texts."""


@dataclass(frozen=True)
class Description:
    """description: in Markdown. values: the metadata without the tags."""

    description: str = ""
    tags: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        return {**({TAGS: list(self.tags)} if self.tags else {}), **self.values}


def of(configuration: Configuration) -> Description:
    """What a version says of itself."""
    return _description(configuration.description, configuration.metadata)


def parse(text: str) -> Description:
    """What the text of a configuration says. Raises Problem where it is no TOML."""
    said = configuring.parsed(text).get("model", {})
    said = said if isinstance(said, dict) else {}
    metadata, description = said.get("metadata"), said.get("description")
    return _description(
        description if isinstance(description, str) else "",
        metadata if isinstance(metadata, dict) else {},
    )


def _description(text: str, metadata: Mapping[str, Any]) -> Description:
    tags, values = metadata.get(TAGS), dict(metadata)
    if isinstance(tags, list) and all(isinstance(each, str) for each in tags):
        del values[TAGS]
        return Description(text, tuple(tags), values)
    return Description(text, (), values)


def written(text: str, said: Description) -> str:
    """The text of a configuration, saying this; what it says already is not touched."""
    before = parse(text)
    changes: dict[tuple[str, str], Any] = {}
    if said.description != before.description:
        changes["model", "description"] = said.description or None
    if said.metadata() != before.metadata():
        changes["model", "metadata"] = said.metadata() or None
    return configuring.with_values(text, changes)


def describe(
    work: Workspace,
    name: str,
    *,
    description: str | None = None,
    set_values: Mapping[str, Any] | None = None,
    unset: tuple[str, ...] = (),
    tag: tuple[str, ...] = (),
    untag: tuple[str, ...] = (),
) -> Description:
    """Change what a model's folder says of it; returns all that it then says."""
    source = configuring.read(work, name)
    now = parse(source.text)
    if unknown := [key for key in unset if key not in now.values]:
        raise Problem(f'The metadata of {name} has no "{unknown[0]}".')
    if set_values and TAGS in set_values:
        raise Problem("Tags are not set as a value.", remedy="Use --tag and --untag.")
    tags = dict.fromkeys((*now.tags, *tag))
    said = Description(
        now.description if description is None else description,
        tuple(each for each in tags if each not in untag),
        {k: v for k, v in now.values.items() if k not in unset} | dict(set_values or {}),
    )
    text = written(source.text, said)
    if text != source.text:
        configuring.save(work, name, text, source.digest)
    return said


def shown(value: Any) -> str:
    """A value as it is typed: text as it is, unless it would be read as something else."""
    if isinstance(value, str) and value == value.strip() and value and "\n" not in value:
        return value if configuring.value_of(value) == value else configuring.literal(value)
    return configuring.literal(value)

"""Commands about models and their versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from app.cli.base import command, sure, workspace
from app.cli.output import emit, follow, table
from app.words import ago, counted, size

if TYPE_CHECKING:
    from app.services.differences import Differences
    from app.services.versions import Shown


class Folder(click.Path):
    """A path that is not empty: an unset shell variable must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty; write . for this folder", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = Folder(path_type=Path)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--name", help="The model's name; else the folder's.")
@command
def init(folder: Path, name: str | None, as_json: bool) -> None:
    """Write starter files into FOLDER: a script, requirements, a configuration, a sample.

    They fit the model file that is there, if it is one that is known.
    """
    from app.services import models

    made = models.init(folder, name)
    written = ", ".join(made.written) or "nothing: all of it is there"

    def words(_: Any) -> None:
        click.echo(f"{made.name}: wrote {written}.")
        if made.serves:
            click.echo(f"predict.py predicts with {made.serves}.")
        todo = (
            "put a real request into sample.json"
            if made.serves
            else "put your model into predict.py"
        )
        first = f"{todo}, then: " if "predict.py" in made.written else ""
        click.echo(f"Next: {first}rhythmicml deploy {quote(str(folder))}")

    emit(made, as_json, words)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--name", help="The model's name; else the configuration's, else the folder's.")
@command
def add(folder: Path, name: str | None, as_json: bool) -> None:
    """Track FOLDER as a model."""
    from app.services import models

    added = models.add(workspace(), folder, name)
    words = "is tracked now" if added.new else "was tracked already"
    emit(added, as_json, lambda _: click.echo(f"{added.model.name} {words}: {added.model.folder}"))


@click.command("list")
@command
def list_models(as_json: bool) -> None:
    """List the models, their last versions, and where they are deployed."""
    from app.services import catalogue

    rows = catalogue.overview(workspace())

    def show(_: Any) -> None:
        if not rows:
            click.echo("No models yet. Start with: rhythmicml add FOLDER")
            return
        shown = [
            {**row, "version": f"v{row['version']}" if row["version"] else "-",
             "deployed": ", ".join(f"v{e['version']} on {e['location']}" for e in row["deployed"])}
            for row in rows
        ]  # fmt: skip
        heads = {"name": "MODEL", "version": "VERSION", "deployed": "DEPLOYED"}
        table(shown, {**heads, "description": "DESCRIPTION"})

    emit(rows, as_json, show)


@click.command()
@click.argument("model")
@click.argument("new")
@command
def rename(model: str, new: str, as_json: bool) -> None:
    """Give MODEL the name NEW."""
    from app.services import models

    renamed = models.rename(workspace(), model, new)
    emit(renamed, as_json, lambda _: click.echo(f"{model} is called {renamed.name} now."))


@click.command()
@click.argument("model", metavar="MODEL[@VERSION]")
@click.option("--force", is_flag=True, help="Even while it is deployed; what runs goes on.")
@click.option("--undeploy", is_flag=True, help="Take it off its locations first.")
@click.option("--yes", is_flag=True, help="With --undeploy: do not ask.")
@command
def remove(model: str, force: bool, undeploy: bool, yes: bool, as_json: bool) -> None:
    """Forget MODEL and its versions, or one of them. Its folder and its history stay."""
    from app.services import models, removing, versions

    if undeploy and ("@" in model or force):
        raise click.UsageError("--undeploy is for a whole model, and not with --force.")
    if undeploy:
        if not sure(f"Take {model} off its locations and forget its versions?", yes):
            raise click.UsageError("Nothing was done. With --yes it is done without a question.")
        result = follow(removing.remove(workspace(), model, undeploy=True), as_json)
        emit(result.data, as_json, lambda _: click.echo(result.text))
        return

    if "@" in model:
        gone = versions.remove(workspace(), model)
        emit(gone, as_json, lambda _: click.echo(f"Version {gone.number} is forgotten."))
        return
    removed = models.remove(workspace(), model, force)
    emit(removed, as_json, lambda _: click.echo(f"{model} is forgotten. {removed.folder} stays."))


@click.command()
@click.argument("what", metavar="FOLDER|MODEL")
@click.option("-m", "--message", default="", help="What changed.")
@click.option("--relock", is_flag=True, help="Resolve the requirements anew.")
@command
def commit(what: str, message: str, relock: bool, as_json: bool) -> None:
    """Keep the folder of a model as a new version, if anything in it changed."""
    from app.services import references, versions

    model = references.model_of(workspace(), what)
    made = versions.commit(workspace(), model, message, relock=relock)
    number = made.version.number
    new = f"{model} v{number}: {made.version.files} files, {size(made.version.size)}"
    same = f"Nothing changed since {model} v{number}."
    lines = [new if made.new else same, *(f"Breaking: {each}" for each in made.breaking)]
    emit(made, as_json, lambda _: click.echo("\n".join(lines)))


@click.command("versions")
@click.argument("model")
@command
def list_versions(model: str, as_json: bool) -> None:
    """List the versions of MODEL, newest first, and where each is pinned."""
    from app.services import versions

    found = versions.listed(workspace(), model)

    def show(_: Any) -> None:
        if not found:
            click.echo(f"{model} has no versions yet. Make one: rhythmicml commit {model}")
            return
        rows = [
            {
                "version": f"v{each.number}",
                "made": ago(each.created),
                "by": each.author,
                "files": each.files,
                "size": size(each.size),
                **({"pinned": ", ".join(each.pinned)} if any(e.pinned for e in found) else {}),
                "message": each.message,
            }
            for each in found
        ]
        table(rows, {key: key.upper() for key in rows[0]})

    emit(found, as_json, show)


@click.command()
@click.argument("reference", metavar="MODEL[@VERSION]")
@command
def show(reference: str, as_json: bool) -> None:
    """Show one version: configuration, metadata, schema, files, locked packages."""
    from app.services import versions

    found = versions.show(workspace(), reference)
    emit(found, as_json, lambda _: click.echo(shown_words(found)))


@click.command()
@click.argument("before", metavar="MODEL[@VERSION]")
@click.argument("after", metavar="[MODEL@VERSION]", required=False)
@command
def diff(before: str, after: str | None, as_json: bool) -> None:
    """Compare two versions, or the folder of MODEL with its last version."""
    from app.services import versions

    found = versions.diff(workspace(), before, after)
    emit(found, as_json, lambda _: click.echo(difference_words(found)))


@click.command()
@click.argument("reference", metavar="MODEL@VERSION")
@click.option("--commit-first", is_flag=True, help="Commit what changed in the folder, then go on.")
@click.option("--discard", is_flag=True, help="Lose what changed in the folder.")
@command
def restore(reference: str, commit_first: bool, discard: bool, as_json: bool) -> None:
    """Put a version back into the folder. Refuses to overwrite what is not committed."""
    from app.services import versions

    if commit_first and discard:
        raise click.UsageError("What changed is either committed or discarded.")
    done = versions.restore(workspace(), reference, commit_first=commit_first, discard=discard)
    changed = f"{counted(len(done.written), 'file')} written, {len(done.removed)} removed"
    kept = f" What was there is v{done.committed.number} now." if done.committed else ""
    absent = f"\nNever shipped, so not here: {', '.join(done.absent)}" if done.absent else ""
    emit(done, as_json, lambda _: click.echo(f"{reference} is back: {changed}.{kept}{absent}"))


class Pair(click.ParamType[tuple[str, Any]]):
    """KEY=VALUE, the value as TOML writes it, or else text."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from app.services import configuring

        key, sign, said = str(value).partition("=")
        if not (key.strip() and sign):
            self.fail(f'"{value}" is not KEY=VALUE', param, ctx)
        return key.strip(), configuring.value_of(said.strip())


@click.command()
@click.argument("model")
@click.option("--description", help="What it is for, in Markdown.")
@click.option("--set", "pairs", type=Pair(), multiple=True, help="A key of the metadata.")
@click.option("--unset", metavar="KEY", multiple=True, help="Take a key out.")
@click.option("--tag", multiple=True, help="Add a tag.")
@click.option("--untag", metavar="TAG", multiple=True, help="Take a tag away.")
@command
def describe(
    model: str,
    description: str | None,
    pairs: tuple[tuple[str, Any], ...],
    unset: tuple[str, ...],
    tag: tuple[str, ...],
    untag: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change what the folder of MODEL says of it, and show it: description, tags, metadata."""
    from app.services import describing

    said = describing.describe(
        workspace(), model, description=description, set_values=dict(pairs), unset=unset,
        tag=tag, untag=untag,
    )  # fmt: skip
    lines = [
        *([said.description, ""] if said.description else []),
        *([f"Tags: {', '.join(said.tags)}"] if said.tags else []),
        *(f"{key} = {describing.shown(value)}" for key, value in said.values.items()),
    ]
    nothing = "Nothing is said of it yet."
    emit(said, as_json, lambda _: click.echo("\n".join(lines) or nothing))


def shown_words(found: Shown) -> str:
    """A version as text: what it is, its settings, its files, its packages."""
    version = found.version
    values = version.configuration.as_dict().items()
    settings = {key: value for key, value in values if value not in (None, "", {}, (), [])}
    metadata = settings.pop("metadata", {})
    settings.pop("schema", None)
    stages = {each["name"]: _stage_words(each) for each in settings.pop("stages", ())}
    if not version.configuration.runs_script:
        settings = {key: held for key, held in settings.items() if key not in OF_SCRIPTS}
    lines = [
        f"{found.model.name} v{version.number}  {version.digest[:12]}  {ago(version.created)}"
        f" by {version.author or 'unknown'}",
        *([f"  {version.message}"] if version.message else []),
        "",
        *_block("Metadata", metadata),
        *_block("Configuration", {key: as_toml(value) for key, value in settings.items()}),
        *_block("Stages", stages),
        *_block("Takes", _fields(version.schema, "inputs")),
        *_block("Gives", _fields(version.schema, "outputs")),
        *_block("Files", {each.path: each.target or size(each.size) for each in found.files}),
        *_block("Packages", found.packages),
    ]
    return "\n".join(lines).rstrip()


OF_SCRIPTS = ("script", "artifacts", "requirements", "python", "workers", "preload")
"""Settings that mean nothing where no script is run."""


def _stage_words(stage: dict[str, Any]) -> str:
    """What a stage of a pipeline does, and after which."""
    pinned = f" v{stage['version']}" if stage["version"] else ""
    does = f"asks {stage['instance']}{pinned}" if stage["instance"] else stage["combine"]
    where = f" on {stage['location']}" if stage["location"] else ""
    when = f", when {stage['when']}" if stage["when"] else ""
    return f"{does}{where}, after {', '.join(stage['after'])}{when}"


def _fields(schema: dict[str, Any] | None, side: str) -> dict[str, str]:
    """One side of a schema: each field's name, and what it holds in words."""
    if schema is None:
        return {}
    fields = {each["name"]: _field(each) for each in schema[side]}
    return fields or ({"any": schema["kind"]} if side == "inputs" else {})


def _field(field: dict[str, Any]) -> str:
    words = [field["type"], f"of shape {field['shape']}" if field["shape"] else ""]
    words.append("or null" if field["nullable"] else "")
    words.append(f"from {field['min']:g}" if field["min"] is not None else "")
    words.append(f"to {field['max']:g}" if field["max"] is not None else "")
    words.append(f"one of {', '.join(map(str, field['values']))}" if field["values"] else "")
    return " ".join(filter(None, words))


def _block(title: str, values: Mapping[str, Any]) -> list[str]:
    """A title and what stands under it, each on one line, whatever is in its name."""
    from app.scoring.summaries import escaped

    if not values:
        return []
    lines = {escaped(key): value for key, value in values.items()}
    width = max(map(len, lines))
    return [title, *(f"  {key:<{width}}  {value}" for key, value in lines.items()), ""]


def difference_words(found: Differences) -> str:
    """What is different, as text: files with sizes and their lines, settings, packages."""
    if not found:
        return f"{found.before} and {found.after} are the same."
    marks = {"added": "+", "removed": "-", "changed": "~"}
    lines = [f"{found.before} → {found.after}"]
    for each in found.files:
        sizes = " → ".join(size(s) for s in (each.before, each.after) if s is not None)
        lines.append(f"{marks[each.kind]} {each.path}  {sizes}")
        lines += [f"    {line}" for line in each.text.splitlines()]
    for change in (*found.configuration, *(found.packages or ())):
        lines.append(f"~ {change.name}: {_side(change.before)} → {_side(change.after)}")
    if found.broken:
        lines.append(f"! settings and packages are not compared: {found.broken}")
    elif found.packages is None:
        lines.append("~ packages: the requirements changed; a commit resolves them")
    return "\n".join(lines)


def _side(value: Any) -> str:
    return "none" if value is None else as_toml(value)


def as_toml(value: Any) -> str:
    """A setting as rhythmicml.toml would say it; text that stands alone without quotes."""
    return value if isinstance(value, str) else _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_inline(each)}' for key, each in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)

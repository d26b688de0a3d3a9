"""The stages of a pipeline where it is deployed: how each is asked, and whether it can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from app.deployer import tunnels
from app.deployer.plan import PUBLIC, Found, Wanted
from app.errors import NotFound, Problem, StagesMissing
from app.models import Configuration, Event, Location
from app.scoring.schema import Schema
from app.scoring.schema import parse as parse_schema
from app.services import fitting, pipelines, places, tokens, tunnelling
from app.services.attempts import Events
from app.services.releases import Reached

if TYPE_CHECKING:
    from app.workspace import Workspace

Said = Mapping[str, Any] | None
"""How a stage's instance fares: version, release, ready, asked, schema; None: it is not there."""


@dataclass(frozen=True)
class Elsewhere:
    """A stage's instance on another host: how it is asked, how it fares, who may ask it.

    tokens: name → hash of each that it takes.
    """

    reached: Reached
    location: str
    instance: str
    said: Said
    exposure: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)


def token_name(pipeline: str, location: str) -> str:
    """By which a stage's instance elsewhere knows the pipeline."""
    return f"pipeline-{pipeline}-{location}"[:48].rstrip("-._")


def secret_name(stage: str) -> str:
    """Under which the pipeline's host keeps the token for a stage."""
    return f"STAGE_{stage.upper()}_TOKEN"


# How they are asked


def elsewhere(
    work: Workspace, pipeline: str, configuration: Configuration, location: Location
) -> dict[str, Elsewhere]:
    """Stage → its instance, for those on another location than the pipeline's: asked just now."""
    found: dict[str, Elsewhere] = {}
    for stage in configuration.stages:
        place = stage.get("location")
        if stage["instance"] and place and place != location.name:
            found[stage["name"]] = _asked(work, pipeline, stage, str(place))
    return found


def _asked(work: Workspace, pipeline: str, stage: Mapping[str, Any], place: str) -> Elsewhere:
    with work.open_store() as store:
        try:
            other = store.locations.get(place)
        except NotFound as error:
            raise NotFound(
                f'Stage "{stage["name"]}" is on the location "{place}", which is not known.',
                remedy="rhythmicml location list shows those that are.",
            ) from error
    name, instance = str(stage["name"]), str(stage["instance"])
    with work.reach(other) as road:
        answer = road.call("status", name=instance, history=0)
        host = places.host_of(other, road)
    said = answer[0] if answer else None
    if said is None or not said["current"]:
        return Elsewhere(Reached(name), place, instance, None)
    known = said["token_hashes"]
    if stage.get("tunnel"):
        through = _through(work, pipeline, name, other, said)
        return Elsewhere(through, place, instance, _production(said), said["exposure"], known)
    reached = Reached(
        name,
        url=places.url_of(PUBLIC, host, said["port"]),
        secret=secret_name(name),
        certificate=said["certificate"] or "",
    )
    return Elsewhere(reached, place, instance, _production(said), said["exposure"], known)


def _through(
    work: Workspace, pipeline: str, stage: str, other: Location, said: Mapping[str, Any]
) -> Reached:
    """By a tunnel to its port there: with a token if any is needed, under TLS if it is public."""
    public = said["exposure"] == PUBLIC
    return Reached(
        stage,
        socket=tunnels.socket_of(pipeline, stage),
        secret=secret_name(stage) if public or said["token_hashes"] else "",
        certificate=(said["certificate"] or "") if public else "",
        tunnel=tunnelling.to_stage(work, stage, other, int(said["port"])),
    )


def _production(said: Mapping[str, Any]) -> dict[str, Any]:
    """What `look` says of a stage, from what `status` says of its instance."""
    fronts = [each for each in said["fronts"] if each["release"] == said["current"]]
    front: Mapping[str, Any] = next((each for each in fronts if each.get("accepting")), {})
    versions = {each["id"]: each["version"] for each in said["releases"]}
    return {
        "version": versions.get(said["current"]),
        "release": said["current"],
        "ready": bool(front.get("ready")),
        "asked": True,
        "schema": front.get("schema"),
    }


def reached(configuration: Configuration, others: Mapping[str, Elsewhere]) -> tuple[Reached, ...]:
    """How each stage is asked that is a model's instance."""
    return tuple(
        others[each["name"]].reached
        if each["name"] in others
        else Reached(each["name"], socket=each["instance"])
        for each in configuration.stages
        if each["instance"]
    )


# Whether they can be


def told(wanted: Wanted, found: Found, others: Mapping[str, Elsewhere]) -> dict[str, Said]:
    """Stage → how its instance fares, for those that are instances."""
    return {
        each["name"]: others[each["name"]].said
        if each["name"] in others
        else found.stages.get(each["instance"])
        for each in wanted.stages
        if each["instance"]
    }


def check(
    wanted: Wanted,
    found: Found,
    others: Mapping[str, Elsewhere],
    location: Location,
    asked: Mapping[str, Any] | None,
) -> None:
    """Raise Problem when a stage is not there to be asked, or does not fit the others.

    asked: the pipeline's own schema.
    """
    said = told(wanted, found, others)
    wrong = {
        each["name"]: why
        for each in wanted.stages
        if each["instance"]
        and (why := _why_not(each, said[each["name"]], others.get(each["name"]), location))
    }
    if wrong:
        _refuse(wanted, location, wrong)
    request = parse_schema(asked) if asked else None
    pipelines.refuse(judged(wanted.manifest["scoring"], said, request))


@dataclass(frozen=True)
class Why:
    """Why a stage cannot be asked, and what helps. comes: `--with-stages` does."""

    cause: str
    remedy: str = ""
    comes: bool = False


def _refuse(wanted: Wanted, here: Location, wrong: Mapping[str, Why]) -> None:
    """Say it of all stages at once; what has to be done by hand comes first."""
    ordered = sorted(wrong.items(), key=lambda item: item[1].comes)
    names = ", ".join(f'"{name}"' for name, _ in ordered)
    remedy = ordered[0][1].remedy or (
        f"rhythmicml deploy {wanted.name} --to {here.name} --with-stages deploys what is missing."
    )
    kind = StagesMissing if all(why.comes for why in wrong.values()) else Problem
    raise kind(
        f"{wanted.name} cannot be deployed on {here.name}: stage{'s' * (len(wrong) > 1)} {names} "
        "cannot be asked.",
        cause="; ".join(why.cause for _, why in ordered) + ".",
        remedy=remedy,
    )


def judged(
    scoring: Mapping[str, Any], said: Mapping[str, Said], asked: Schema | None
) -> Sequence[fitting.Misfit]:
    """What does not fit among the stages of a release, by what their instances say."""
    schemas = {
        name: parse_schema(each["schema"]) for name, each in said.items() if each and each["schema"]
    }
    return fitting.judge(pipelines.graph_from(scoring), schemas, asked).misfits


def _why_not(
    stage: Mapping[str, Any], said: Said, other: Elsewhere | None, here: Location
) -> Why | None:
    instance, pinned = stage["instance"], stage["version"]
    place = other.location if other else here.name
    if said is None:
        return Why(f"{instance} is not deployed on {place}", comes=True)
    if pinned and said["version"] != pinned:
        return Why(
            f"{instance} is wanted as v{pinned}, and v{said['version']} is production on {place}",
            f"Make it production: rhythmicml deploy {instance}@{pinned} --to {place}; or let "
            f'stage "{stage["name"]}" ask v{said["version"]}.',
        )
    if not said["ready"]:
        return Why(f"{instance} is not ready on {place}", comes=True)
    if not said["asked"]:
        return Why(f"{instance} was deployed on {place} before there were pipelines", comes=True)
    if other and not other.reached.tunnel and other.exposure != PUBLIC:
        return Why(
            f"{instance} on {place} answers only its own host",
            f'Set expose = "public" in [deploy] of {instance}, then deploy it again; or '
            f'tunnel = true in stage "{stage["name"]}", if SSH leads there.',
        )
    return None


# Who may ask them


def confided(
    work: Workspace,
    wanted: Wanted,
    found: Found,
    others: Mapping[str, Elsewhere],
    location: Location,
    dry_run: bool,
) -> Wanted:
    """With a new token for each stage elsewhere that does not take the one its pipeline has.

    The text goes from here to the pipeline's host; nothing here keeps it.
    """
    made = dict(wanted.secrets)
    for each in others.values():
        name = token_name(wanted.name, location.name)
        secret = each.reached.secret
        if not secret:
            continue
        known = found.secrets.has_token(secret, each.tokens.get(name, ""))
        if not known and dry_run:
            made.setdefault(secret, tokens.new_text())
        elif not known:
            made[secret] = _token(work, each, name)
    return replace(wanted, secrets=made)


def _token(work: Workspace, stage: Elsewhere, name: str) -> str:
    """A new text. One that was made before is with nobody who would ask, so it ends now."""
    if name in stage.tokens:
        said = tokens.rotate(work, stage.instance, name, grace=0, to=stage.location)
    else:
        said = tokens.add(work, stage.instance, name, to=stage.location)
    return str(said["token"])


def then_end_tokens(work: Workspace, pipeline: str, location: Location, events: Events) -> Events:
    """The same events; before their result the tokens end that it had for stages elsewhere."""
    for event in events:
        if event.kind == "result":
            yield from _end_tokens(work, pipeline, location)
        yield event


def _end_tokens(work: Workspace, pipeline: str, location: Location) -> Iterator[Event]:
    """Of the stages of every version. Where that cannot be done it is said, with what is left."""
    with work.open_store() as store:
        model = store.models.find(pipeline)
        every = store.versions.all(model) if model else []
    stages = [stage for each in every for stage in each.configuration.stages]
    token = token_name(pipeline, location.name)
    for instance, place in instances_of(stages, location.name):
        if place == location.name:
            continue
        try:
            tokens.remove(work, instance, token, to=place)
        except NotFound:
            pass  # it had none there
        except Problem as problem:
            yield Event(
                "note",
                f"{instance} still takes the token of {pipeline} on {place}: {problem.what} "
                f"End it later: rhythmicml token remove {instance} {token} --to {place}",
            )


def instances_of(stages: Iterable[Mapping[str, Any]], location: str) -> list[tuple[str, str]]:
    """(instance, location) of each stage that is one, once."""
    pairs = [(str(e["instance"]), str(e.get("location") or location)) for e in stages]
    return list(dict.fromkeys(pair for pair in pairs if pair[0]))

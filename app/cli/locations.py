"""Commands about locations: where instances run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from app.cli.base import command, workspace
from app.cli.fleet import group as location_group
from app.cli.fleet import show_checks
from app.cli.output import emit, follow, table
from app.errors import NotTrusted
from app.words import size

if TYPE_CHECKING:
    from app.models import Location


@click.group()
def location() -> None:
    """Where instances run: this machine, and servers you can ssh to."""


@location.command()
@click.argument("name")
@click.argument("url", metavar="ssh://[USER@]HOST[:PORT]")
@click.option("--identity", metavar="FILE", help="The private key to log in with.")
@click.option("--accept-key", metavar="SHA256:…", help="The host key you expect.")
@click.option(
    "--privilege",
    type=click.Choice(["auto", "sudo", "user"]),
    default="auto",
    help="auto: system-wide as root or with sudo -n, else as the user. sudo: system-wide, with "
    "sudo's password where it wants one. user: as the user.",
)
@click.option(
    "--internet",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    help="Whether packages can be fetched there; never: they are fetched here and sent.",
)
@click.option("--remember", is_flag=True, help="Keep what you type in the OS keyring.")
@click.option("--base", default="", metavar="FOLDER", help="Where things go on the host.")
@command
def add(name: str, url: str, as_json: bool, **options: Any) -> None:
    """Add a server, after a look at it."""
    from app.services import locations

    work = workspace()
    try:
        made = locations.add(work, name, url, **options)
    except NotTrusted as unknown:
        if as_json or not sys.stdin.isatty():
            raise
        click.echo(f"{unknown.what}\n  Its key is {unknown.fingerprint}", err=True)
        click.confirm("Is that the right one?", abort=True, err=True)
        made = locations.add(work, name, url, **{**options, "accept_key": unknown.fingerprint})
    emit(made, as_json, lambda _: click.echo(f"{name} is a location now: {made.url}"))


@location.command("set")
@click.argument("name")
@click.option("--internet", type=click.Choice(["auto", "never", "always"]), help="See add.")
@click.option("--privilege", type=click.Choice(["auto", "sudo", "user"]), help="See add.")
@click.option("--identity", metavar="FILE", help="The private key to log in with.")
@click.option("--base", metavar="FOLDER", help="Where things go on the host.")
@click.option("--accept-key", metavar="SHA256:…", help="The host key, where it was forgotten.")
@command
def set_location(name: str, as_json: bool, **options: Any) -> None:
    """Change what was said when a location was added, after a look at it."""
    from app.services import locations

    if all(value is None for value in options.values()):
        raise click.UsageError("Nothing is to be set: give an option.")
    made = locations.change(workspace(), name, **options)
    emit(made, as_json, lambda _: click.echo(_said(made)))


def _said(made: Location) -> str:
    facts = {key: getattr(made, key) for key in ("internet", "privilege", "identity", "base")}
    return f"{made.name}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if value)


@location.command("list")
@command
def list_locations(as_json: bool) -> None:
    """List the locations."""
    from app.services import locations

    found = locations.list_locations(workspace())
    rows = [
        {
            "name": each.name,
            "default": "*" if each.default else "",
            "url": each.url or "this machine",
            "base": each.base,
            "internet": each.internet,
        }
        for each in found
    ]
    emit(found, as_json, lambda _: table(rows, {key: key.upper() for key in rows[0]}))


@location.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@command
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Look at locations, all if none is named: what they are, what they have, how far away."""
    from app.services import fleet, locations, places

    work = workspace()
    if names:
        chosen = places.named(work, ",".join(names))
    else:
        chosen = [each.name for each in locations.list_locations(work)]
    if names and len(chosen) == 1:
        facts = locations.check(work, chosen[0])
        emit(facts, as_json, lambda _: click.echo(_fact_words(facts)))
        return
    result = follow(fleet.check(work, chosen), as_json)
    emit(result.data, as_json, lambda _: show_checks(result))
    if result.data["failed"]:
        sys.exit(1)


def _fact_words(facts: dict[str, Any]) -> str:
    from app.services.places import WAYS, way_words

    pythons = ", ".join(each["version"] for each in facts["pythons"]) or "none"
    system = f"{facts['distribution']} {facts['distribution_version']}".strip()
    lines = {
        "Host": f"{facts['hostname']} ({system or facts['os']}, {facts['arch']}, {facts['libc']})",
        "User": f"{facts['user']} (installs {way_words(facts['mode']) or WAYS['user']})",
        "Base folder": facts["base"],
        "Python": pythons,
        "systemd": facts["systemd"] or "no",
        "Linger": _yes(facts["linger"]),
        "Disk free": f"{size(facts['disk_free'])} of {size(facts['disk_total'])}",
        "Memory": f"{size(facts['memory'])}, {facts['cpus']} CPUs",
        "Internet": _internet(facts),
        "Latency": f"{facts['latency'] * 1000:.1f} ms",
    }
    return "\n".join(f"{name:<12} {value}" for name, value in lines.items())


def _yes(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"


def _internet(facts: dict[str, Any]) -> str:
    """What was tried, and what is done about it when something else was said."""
    reached, wanted = _yes(facts["internet"]), facts["internet_wanted"]
    return reached if wanted == "auto" else f"{reached} (set to {wanted})"


@location.command()
@click.argument("name")
@command
def default(name: str, as_json: bool) -> None:
    """Make a location the one that is used when none is named."""
    from app.services import locations

    chosen = locations.set_default(workspace(), name)
    emit(chosen, as_json, lambda _: click.echo(f"{name} is the default location now."))


@location.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Even while instances are there; they go on.")
@command
def remove(name: str, force: bool, as_json: bool) -> None:
    """Forget a location. Refused while instances are deployed there."""
    from app.services import locations

    locations.remove(workspace(), name, force)
    emit({"removed": name}, as_json, lambda _: click.echo(f"{name} is forgotten."))


@location.command("forget-key")
@click.argument("name")
@command
def forget_key(name: str, as_json: bool) -> None:
    """Forget the host key of a location, because the host was set up anew."""
    from app.services import locations

    count = locations.forget_key(workspace(), name)
    words = f"The key of {name} is forgotten." if count else f"No key of {name} was known here."
    emit({"forgotten": count}, as_json, lambda _: click.echo(words))


location.add_command(location_group)

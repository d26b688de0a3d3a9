"""The group of all commands. A command's module is imported when it is asked for, or listed."""

from __future__ import annotations

import importlib

import click

from app import VERSION

PARTS = {
    "models": "init add list rename remove describe commit versions show diff restore",
    "pipelines": "pipeline",
    "lineage": "explain history logs",
    "locations": "location",
    "instances": (
        "deploy switch rollback start stop restart undeploy unlock status score tunnel demo"
    ),
    "monitoring": "monitor",
    "alerts": "alerts",
    "gate": "test record report",
    "shadow": "shadow",
    "tokens": "token",
    "secrets": "secret",
    "upkeep": "pin unpin keep verify adopt backup restore-store",
    "doctor": "doctor",
    "ui": "ui ui-token",
}
"""Module → its commands."""
PART_OF = {name: part for part, names in PARTS.items() for name in names.split()}


class Parts(click.Group):
    """A start imports the part that it needs: all of them take longer than what most do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(PART_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in PART_OF:
            return None
        part = importlib.import_module(f"app.cli.{PART_OF[cmd_name]}")
        found = (each for each in vars(part).values() if isinstance(each, click.Command))
        return next(each for each in found if each.name == cmd_name)


@click.group(
    cls=Parts, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name=None, version=VERSION, prog_name="rhythmicml")
def root() -> None:
    """Deploy ML models into production in a simple and robust fashion.

    A model is a folder: artifacts, a prediction script, requirements.txt. Start with
    "rhythmicml init FOLDER", then "rhythmicml deploy FOLDER".
    """

"""Docs are tested too: commands, options and kinds of error stand in docs/cli.md; links lead on."""

import importlib
import inspect
import re
from pathlib import Path

import click
import pytest

from app import errors
from app.cli.parts import PARTS, root

ROOT = Path(__file__).parents[1]
CLI = (ROOT / "docs" / "cli.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def commands(group, prefix=()):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))
        else:
            yield " ".join((*prefix, name)), command


ALL = dict(commands(root))


@pytest.mark.parametrize("name", ALL)
def test_command_has_help_and_is_documented(name):
    assert ALL[name].help
    assert re.search(rf"`{name}[ `]", CLI), f"docs/cli.md does not show `{name}`"


@pytest.mark.parametrize("name", ALL)
def test_options_are_documented(name):
    options = [o for o in ALL[name].params if isinstance(o, click.Option)]
    names = {names for o in options for names in (o.opts[0], o.opts[-1])}
    lacking = [option for option in names if option not in CLI]
    assert lacking == []


@pytest.mark.parametrize("name", ALL)
def test_command_takes_json(name):
    assert "--json" in [option for each in ALL[name].params for option in each.opts]


@pytest.mark.parametrize("part", [each.stem for each in (ROOT / "app" / "cli").glob("*.py")])
def test_every_command_can_be_asked_for(part):
    module = importlib.import_module(f"app.cli.{part}" if part != "__init__" else "app.cli")
    made = [each for each in vars(module).values() if isinstance(each, click.Command)]
    inner = {id(each) for group in made for each in getattr(group, "commands", {}).values()}
    names = {each.name for each in made if id(each) not in inner} - {"root", "group"}
    assert names == set(PARTS.get(part, "").split())


def test_every_kind_of_error_is_documented():
    kinds = [
        n
        for n, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, errors.Problem)
    ]
    assert [kind for kind in kinds if f"`{kind}`" not in CLI] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    near = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in near if not (page.parent / link).exists()] == []


def test_no_text_is_left_half_merged():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        lines = path.read_text("utf-8").splitlines()
        assert not [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))], path

"""What the command line prints: results as text or as one JSON value, progress, Problems."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from app.errors import GateFailed, Problem
from app.models import Event
from app.progress import Pace, progress_words
from app.words import size

Printer = Callable[[Any], None]


def emit(value: Any, as_json: bool, printer: Printer) -> None:
    """The result of a command: one JSON value, or what printer makes of it."""
    if as_json:
        click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))
    else:
        printer(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def follow(events: Iterable[Event], as_json: bool) -> Event:
    """Show what happens while it happens; returns the last event, the result."""
    shown = _Quiet() if as_json else _Terminal() if sys.stderr.isatty() else _Lines()
    last = Event("result")
    with shown:
        for event in events:
            last = event
            shown.hear(event)
    return last


class _Quiet:
    """Says nothing: the result alone counts."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def hear(self, event: Event) -> None:
        pass


class _Lines(_Quiet):
    """A line for each step that ended, for logs and pipes."""

    def hear(self, event: Event) -> None:
        if event.kind == "done":
            click.echo(done_words(event), err=True)
        elif event.kind == "note":
            click.echo(event.text, err=True)


class _Terminal(_Quiet):
    """A line a step: a spinner with bytes or seconds while it runs, a tick when it is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self.console = Console(stderr=True, highlight=False)
        self.spinner = Spinner("dots")
        self.live = Live(self.spinner, console=self.console, transient=True, refresh_per_second=12)
        self.step = ""
        self.began = 0.0
        self.pace = Pace()

    def __enter__(self) -> _Terminal:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def hear(self, event: Event) -> None:
        if event.kind == "step":
            self.step, self.began, self.pace = event.text, time.monotonic(), Pace()
            self._spin("")
        elif event.kind == "progress":
            now = time.monotonic()
            self._spin(progress_words(event, now - self.began, self.pace.of(event, now)))
        elif event.kind == "log":
            self._spin(event.text[-60:])
        elif event.kind == "done":
            self.console.print(f"[green]✓[/green] {_escaped(done_words(event)[2:])}")
            self._spin("")
        elif event.kind == "note":
            self.console.print(_escaped(event.text))

    def _spin(self, aside: str) -> None:
        text = _escaped(self.step) + (f" [dim]{_escaped(aside)}[/dim]" if aside else "")
        from rich.text import Text

        self.spinner.update(text=Text.from_markup(text))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def done_words(event: Event) -> str:
    seconds = event.data.get("seconds")
    words = f"✓ {event.text}" + _sent_words(event.data.get("answer"))
    return words + (f" ({seconds:.1f} s)" if seconds and seconds >= 0.1 else "")


def _sent_words(answer: Any) -> str:
    """What an upload was spared, and what it found."""
    if not isinstance(answer, dict) or "sent" not in answer:
        return ""
    spared = answer["sent"] < 0.9 * answer["bytes"]
    words = f"; {size(answer['sent'])} had to be sent" if spared else ""
    if damaged := len(answer["damaged"]):
        what = "1 file" if damaged == 1 else f"{damaged} files"
        words += f"; {what} there found damaged and put out of use"
    return words


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Aligned columns under their heads; numbers to the right. columns: key → head."""
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    numeric = [all(isinstance(row.get(key), (int, float)) for row in rows) for key in columns]
    widths = [max(map(len, column)) for column in zip(*cells, list(columns.values()), strict=True)]
    click.secho(_row(list(columns.values()), widths, numeric), dim=True)
    for line in cells:
        click.echo(_row(line, widths, numeric))


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    placed = zip(cells, widths, numeric, strict=True)
    return "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in placed).rstrip()


def _cell(value: Any) -> str:
    """On one line, whatever is in it: a message or a name may have several."""
    from app.scoring.summaries import escaped

    return "" if value is None else escaped(" ".join(str(value).splitlines()))


def show_problem(problem: Problem, as_json: bool) -> None:
    """On stderr, in the person's words; with --json the same as one JSON value on stdout."""
    if as_json:
        click.echo(json.dumps({"error": problem.as_dict()}, ensure_ascii=False, indent=2))
        return
    if isinstance(problem, GateFailed) and problem.report:
        from app.cli.gate import print_report

        print_report(problem.report, err=True)
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(problem.what, err=True)
    for name, text in (("Cause: ", problem.cause), ("Remedy:", problem.remedy)):
        if text:
            click.echo(f"  {name} {_indented(text, 10)}", err=True)
    if problem.detail:
        click.secho(f"  {_indented(problem.detail, 2)}", dim=True, err=True)


def _indented(text: str, by: int) -> str:
    return text.strip().replace("\n", "\n" + " " * by)


@contextmanager
def problems(as_json: bool) -> Iterator[None]:
    """The edge of the program: a Problem becomes words and exit code 1, never a traceback."""
    try:
        yield
    except Problem as problem:
        show_problem(problem, as_json)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("Stopped. Nothing is half done: the same command goes on from here.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (click.ClickException, click.exceptions.Exit, click.Abort, SystemExit):
        raise
    except Exception as error:
        show_problem(_kept(error), as_json)
        sys.exit(1)


def _kept(error: Exception) -> Problem:
    """A mistake of ours: one sentence, and the traceback in the log."""
    import traceback

    from app import config, log

    command = (click.get_current_context(silent=True) or click.Context(click.Command(""))).info_name
    kept = log.keep(config.home(), error, f"rhythmicml {command or ''}")
    return mistake(error, "" if kept else "".join(traceback.format_exception(error)))


def mistake(error: Exception, detail: str = "") -> Problem:
    return Problem(
        "RhythmicML made a mistake and stopped.",
        cause=f"{type(error).__name__}: {error}",
        remedy="Report it with what this prints: rhythmicml doctor",
        detail=detail,
    )

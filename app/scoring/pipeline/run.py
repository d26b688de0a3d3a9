"""One batch on its way through the graph: each stage as soon as what it needs is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple, Union

import msgspec

from ..errors import Refusal
from ..inputs import Inputs
from ..outputs import Outputs
from ..readers import weight
from . import combine, table
from .graph import INPUT, Graph, Stage
from .stage import Context, Remote, Reply, Script, beside, failure
from .table import Held, Unfit

Askable = Union[Remote, Script]
_NONE_LEFT = "None of the stages that it combines gave anything."


class Step(NamedTuple):
    """What a stage did, for who wants to see it."""

    name: str
    version: int | None
    seconds: float
    held: Held

    def as_json(self) -> dict[str, Any]:
        outputs, rows = self.held
        return {
            "name": self.name,
            "version": self.version,
            "ms": round(self.seconds * 1000, 3),
            "rows": outputs.rows if rows is None else len(rows),
            "output": table.plain(outputs) if outputs.kind != "bytes" else outputs,
        }


class Run:
    """asked: the stages that are asked, by name; all others combine. traced: keep every step."""

    def __init__(
        self,
        graph: Graph,
        asked: Mapping[str, Askable],
        inputs: Inputs,
        context: Context,
        traced: bool = False,
    ) -> None:
        self.graph = graph
        self.running: set[str] = set()
        self._asked = asked
        self._inputs = inputs
        self._context = context
        self._traced = traced
        self._count = inputs.rows
        self._held: dict[str, Held] = {}
        self._failures: dict[str, Refusal] = {}  # of stages that are done without
        self._replies: dict[str, Reply] = {}
        self._steps: dict[str, Step] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def outputs(self) -> Outputs:
        """The pipeline's answer. Raises a Refusal that names the stage at fault."""
        if self._inputs.kind == "parquet":
            raise Refusal(415, "A pipeline does not read Parquet.", remedy="Send JSON or CSV.")
        source = await beside(self._inputs.size, table.of_inputs, self._inputs)
        self._held[INPUT] = Held(source)
        loop = asyncio.get_running_loop()
        for name in self.graph.order:
            self._tasks[name] = loop.create_task(self._stage(name))
        try:
            await asyncio.gather(*self._tasks.values())
        finally:
            for task in self._tasks.values():
                task.cancel()
        return await self._answer()

    async def _answer(self) -> Outputs:
        held = self._held.get(self.graph.output)
        if held is None:
            raise self._failures[self.graph.output]
        outputs = held.outputs
        if held.rows is not None:
            size = weight(outputs)
            outputs = await beside(size, table.spread, outputs, held.rows, self._count)
        steps = tuple(self._steps[name] for name in self.graph.order if name in self._steps)
        return outputs._replace(extra=self._headers(), steps=steps)

    async def _stage(self, name: str) -> None:
        for need in self.graph.needs(name):
            if need != INPUT:
                await self._tasks[need]
        begun = monotonic()
        self.running.add(name)
        try:
            held = await self._made(self.graph.stages[name])
        except Refusal as refusal:
            if not self.graph.stages[name].optional:
                raise
            self._failures[name] = refusal
        else:
            self._held[name] = held
            if self._traced:
                self._note(name, monotonic() - begun, held)
        finally:
            self.running.discard(name)

    def _note(self, name: str, seconds: float, held: Held) -> None:
        reply = self._replies.get(name)
        self._steps[name] = Step(name, reply.version if reply else None, seconds, held)

    async def _made(self, stage: Stage) -> Held:
        """What the stage gives. Raises a Refusal."""
        asked = self._asked.get(stage.name)
        try:
            if asked is None:
                return await self._combined(stage)
            return await self._given_to(asked, stage)
        except Unfit as error:
            status = 400 if error.culprit == INPUT else 502
            raise failure(stage.name, status, str(error)) from None

    async def _combined(self, stage: Stage) -> Held:
        there = {name: self._held[name] for name in stage.after if name in self._held}
        if not there:
            raise failure(stage.name, 502, _NONE_LEFT)
        size = sum(weight(one.outputs) for one in there.values())
        return await beside(size, combine.combine, stage, there, self._count)

    async def _given_to(self, asked: Askable, stage: Stage) -> Held:
        needs = self.graph.needs(stage.name)
        for need in needs:
            if need in self._failures:
                why = self._failures[need].sentence
                raise failure(stage.name, 502, f'It needs "{need}". {why}')
        held = {need: self._held[need] for need in needs}
        size = sum(weight(one.outputs) for one in held.values())
        given = await beside(size, table.given, stage, held, self._count)
        if given.rows is not None and not given.rows:
            return Held(asked.nothing(), given.rows)  # no row is for it
        reply = await asked.ask(given.outputs, self._context)
        self._replies[stage.name] = reply
        return Held(reply.outputs, given.rows)

    # What is said with the answer

    def _headers(self) -> bytes:
        lineage, missing = [], list(self._failures)
        for name in self.graph.order:
            reply = self._replies.get(name)
            if reply is None or reply.version is None:
                continue
            lineage.append(f"{name}={reply.version}")
            lineage += [f"{name}/{one}" for one in _listed(reply.lineage)]
            missing += [f"{name}/{one}" for one in _listed(reply.missing)]
        said = f"X-Pipeline: {', '.join(lineage)}\r\n" if lineage else ""
        if missing:
            said += f"X-Pipeline-Missing: {', '.join(missing)}\r\n"
        return said.encode()


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")] if text else []


def shown(outputs: Outputs) -> bytes:
    """The predictions, and what each stage gave, as JSON."""
    steps = [step.as_json() for step in outputs.steps]
    return b'{"predictions":%b,"stages":%b}' % (outputs.json(), msgspec.json.encode(steps))

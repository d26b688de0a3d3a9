"""Runs one model: the far end of the front, in the model's own environment and Python (3.8+).

Started as `python worker.py FD` with the release's files as working directory; FD is a socket to
the front. One file, standard library only, so that no package of the model can be in its way.

A frame, both ways: `!IQ` (length of the header, length of the payload), a JSON header, a payload.
The front's first frame says which script to load; the answer is {"ready": …} or {"failed": …}.
With "preload" in it this process becomes a template, of which the front has workers forked.
Each later frame holds rows to predict on and gets one frame back; or, where predict yields items,
one frame an item and {"end": true}. {"cancel": id} and {"more": id, "bytes": n} (taken by the
reader: at most WINDOW and one item are sent beyond that) come in between. A model whose predict
is `async` gets many requests at once, and answers {"ping"} with {"pong"}.

A prediction script is written in one of these styles, looked for in this order:

* class `Model` with `predict(self, inputs)`, perhaps `load(self, artifacts)`;
* function `predict(model, inputs)`, perhaps `load(artifacts)`, whose result is `model` (without
  `load`, `predict(inputs)` will do too);
* class `ModelWrapper(path_to_artifacts)`, called with the request's body as a JSON string: its
  method `predict`, else `score`, else the object itself. It may return a JSON string.

`artifacts` is a `pathlib.Path`, the wrapper's a string. `preprocess(inputs)` and
`postprocess(outputs)`, as functions or methods of `Model`, are applied when they are there.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path[0] = ""  # this file's folder holds our modules; the model's are in the working one

import base64
import contextlib
import errno
import faulthandler
import gc
import importlib.util
import inspect
import io
import json
import math
import os
import select
import signal
import socket
import struct
import traceback
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

KINDS = ("dataframe", "ndarray", "json", "bytes")
HEAD = struct.Struct("!IQ")
LONGEST_TRACEBACK = 1 << 16
WINDOW = 1 << 18  # bytes of items on their way to the reader before a stream waits


# Frames


class FrontGone(EOFError):
    """There is nobody left to answer."""


def receive(sock: socket.socket) -> tuple[dict[str, Any], bytearray]:
    """The next frame as header and payload; raises FrontGone when the front is."""
    lengths = HEAD.unpack(_receive_exactly(sock, HEAD.size))
    header = json.loads(_receive_exactly(sock, lengths[0]))
    return header, _receive_exactly(sock, lengths[1])


def _receive_exactly(sock: socket.socket, size: int) -> bytearray:
    received = bytearray(size)  # writable, so that arrays made on it are
    view = memoryview(received)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise FrontGone
        view = view[count:]
    return received


def frame_head(header: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return HEAD.pack(len(text), len(payload)) + text


def send(sock: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    head = frame_head(header, payload)
    if len(payload) < 65536:
        sock.sendall(head + payload)
    else:
        sock.sendall(head)
        sock.sendall(payload)


# Inputs


class BadInput(Exception):
    """The rows cannot be made into what predict takes: the caller's fault."""


def decode(header: dict[str, Any], payload: bytearray, kind: str) -> Any:
    """What predict gets: see `inputs.Inputs` for the header."""
    try:
        if header["kind"] == "bytes":
            return bytes(payload)
        if header["kind"] == "matrix":
            return _matrix(header, payload)
        if header["kind"] == "columns":
            return _frame(header, payload)
        if kind == "text":
            return _text(header, payload)
        if header["kind"] == "rows":
            return json.loads(_listed(payload))
        return json.loads(payload)
    except Exception as error:
        raise BadInput(type(error).__name__) from error


def _text(header: dict[str, Any], payload: bytearray) -> str:
    rows = header["kind"] == "rows"
    return (_listed(payload) if rows else bytes(payload)).decode()


def _listed(rows: bytearray) -> bytes:
    return b"[" + bytes(rows) + b"]"


def _matrix(header: dict[str, Any], payload: bytearray) -> Any:
    import numpy

    code = header["codes"][0]
    shape = [header["rows"], *header["shape"]]
    if code[0] == "j":
        array = numpy.empty(shape, dtype=object)
        array.flat = _values(payload, code)
        return array
    return numpy.frombuffer(payload, dtype=code).reshape(shape)


def _frame(header: dict[str, Any], payload: bytearray) -> Any:
    import numpy
    import pandas

    codes, names, rows = header["codes"], header["names"] or None, header["rows"]
    if len(set(codes)) == 1 and codes[0] != "j" and ":" not in codes[0]:
        block = numpy.frombuffer(payload, dtype=codes[0]).reshape(len(codes), rows)
        return pandas.DataFrame(block.T, columns=names)
    columns, start = [], 0
    for code, size in zip(codes, header["sizes"]):
        columns.append(_column(code, payload[start : start + size]))
        start += size
    frame = pandas.DataFrame(dict(enumerate(columns)), index=range(rows))
    if names:
        frame.columns = names
    return frame


def _column(code: str, part: bytearray) -> Any:
    """One column of a data frame; columns.py has the codes."""
    import numpy
    import pandas

    if code[0] == "j":
        dtype = code[2:]
        return pandas.Series(
            _values(part, code), dtype=object if dtype in ("", "base64") else dtype
        )
    if code.startswith("i:"):
        places = numpy.frombuffer(part, dtype="i")
        return pandas.Categorical.from_codes(places, categories=json.loads(code[2:]))
    return numpy.frombuffer(part, dtype=code)


def _values(part: bytearray, code: str) -> list[Any]:
    """JSON values, and what `base64` makes of them."""
    values: list[Any] = json.loads(_listed(part))
    if code == "j:base64":
        return [None if value is None else b64decode(value) for value in values]
    return values


def convert(payload: bytearray) -> tuple[dict[str, Any], bytes]:
    """A Parquet file as a table, for the front to make inputs of; or what is missing for that."""
    try:
        import pandas

        frame = pandas.read_parquet(io.BytesIO(payload))
    except ImportError:
        return {"kind": "json"}, b'{"missing": "pyarrow"}'
    except Exception as error:
        raise BadInput(type(error).__name__) from error
    return encode(frame)


# Outputs


def encode(result: Any) -> tuple[dict[str, Any], bytes]:
    """A prediction as header and payload: arrays as raw buffers, the rest as JSON."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return {"kind": "bytes"}, bytes(result)
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and isinstance(result, pandas.DataFrame):
        return _encode_frame(numpy, result)
    array = _as_array(numpy, pandas, result)
    if array is not None and array.ndim:
        buffer = _buffer(array)
        if buffer is not None:
            return {"kind": "array", "code": buffer[0], "shape": array.shape}, buffer[1]
        result = _plain_array(numpy, array)
    elif array is not None:
        result = array.item()
    return {"kind": "json"}, to_json(result)


def _as_array(numpy: Any, pandas: Any, result: Any) -> Any:
    """The result as a numpy array if it is one in disguise: a Series, a tensor, a sparse matrix."""
    if numpy is None or isinstance(result, (str, dict, list, tuple, int, float, type(None))):
        return None
    if isinstance(result, numpy.ndarray):
        return result
    if pandas is not None and isinstance(result, pandas.api.extensions.ExtensionArray):
        result = pandas.Series(result)
    if pandas is not None and isinstance(result, (pandas.Series, pandas.Index)):
        return _series(result)
    if hasattr(result, "detach"):
        result = result.detach().cpu()
    if hasattr(result, "toarray"):
        result = result.toarray()
    return numpy.asarray(result) if hasattr(result, "__array__") else None


def _series(series: Any) -> Any:
    """A Series as an array; whole numbers with gaps as objects, which keeps them whole."""
    kind = series.dtype
    gaps = hasattr(kind, "na_value") and getattr(kind, "kind", "O") in "iub" and series.hasnans
    return series.to_numpy(dtype=object) if gaps else series.to_numpy()


def _buffer(array: Any) -> tuple[str, bytes] | None:
    """Code and little-endian bytes of an array of plain numbers; None for other arrays."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return "?", array.tobytes()
    if kind == "f":
        code = {2: "e", 4: "f"}.get(size, "d")
    elif kind in "iu":
        code = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
        code = code if kind == "i" else code.upper()
    else:
        return None
    return code, array.astype("<" + code, copy=False).tobytes()


def _plain_array(numpy: Any, array: Any) -> Any:
    if array.dtype.kind in "mM":
        array = numpy.where(numpy.isnat(array), None, array.astype(str))
    return array.tolist()


def _encode_frame(numpy: Any, frame: Any) -> tuple[dict[str, Any], bytes]:
    codes, sizes, parts = [], [], []
    for position in range(frame.shape[1]):
        array = _series(frame.iloc[:, position])
        code, part = _buffer(array) or ("j", to_json(_plain_array(numpy, array)))
        codes.append(code)
        sizes.append(len(part))
        parts.append(part)
    names = [str(name) for name in frame.columns]
    header = {"kind": "table", "rows": len(frame), "names": names, "codes": codes, "sizes": sizes}
    return header, b"".join(parts)


def to_json(value: Any) -> bytes:
    """JSON text with null for NaN, which is no JSON."""
    try:
        text = json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError):
        text = json.dumps(_clean(value), allow_nan=False)
    return text.encode()


def _plain(value: Any) -> Any:
    """A JSON-able stand-in for a value that is not."""
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    for name in ("tolist", "isoformat", "item"):
        method = getattr(value, name, None)
        if method is not None:
            return method()
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"A {type(value).__name__} cannot be written as JSON.")


def _clean(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _clean(_plain(value))


# The model


class Unusable(Exception):
    """The script cannot be used as it is; the text is for the person who wrote it."""


def load_script(path: str) -> Any:
    """The module in the file, importable under its own name for what was pickled with it."""
    if not os.path.isfile(path):
        raise Unusable(f"The script {path} does not exist.")
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(1, folder)
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_model(module: Any, artifacts: Path) -> tuple[Callable[[Any], Any], str]:
    """One callable, inputs to outputs, and the kind of input its author annotated."""
    if hasattr(module, "Model"):
        return _from_class(module.Model, artifacts)
    if hasattr(module, "predict"):
        return _from_functions(module, artifacts)
    if hasattr(module, "ModelWrapper"):
        return _from_wrapper(module.ModelWrapper(str(artifacts)))
    raise Unusable(
        f"{module.__name__} has no function predict, no class Model and no class ModelWrapper."
    )


def _from_class(kind: Any, artifacts: Path) -> tuple[Callable[[Any], Any], str]:
    model = kind()
    if hasattr(model, "load"):
        model.load(artifacts)
    if not hasattr(model, "predict"):
        raise Unusable("The class Model has no method predict.")
    return _steps(model, model.predict)


def _from_functions(module: Any, artifacts: Path) -> tuple[Callable[[Any], Any], str]:
    loads = hasattr(module, "load")
    model = module.load(artifacts) if loads else None
    predict = module.predict
    if not loads and len(_positional(predict)) == 1:
        return _steps(module, predict)
    return _steps(module, lambda inputs: predict(model, inputs), annotated=predict)


def _from_wrapper(wrapper: Any) -> tuple[Callable[[Any], Any], str]:
    call = getattr(wrapper, "predict", None) or getattr(wrapper, "score", None) or wrapper
    if not callable(call):
        raise Unusable("ModelWrapper has no method predict or score and cannot be called.")

    def run(text: str) -> Any:
        result = call(text)
        try:
            return json.loads(result) if isinstance(result, (str, bytes)) else result
        except ValueError:
            return result

    return run, "text"


def _steps(
    owner: Any, predict: Callable[[Any], Any], annotated: Any = None
) -> tuple[Callable[[Any], Any], str]:
    before, after = getattr(owner, "preprocess", None), getattr(owner, "postprocess", None)
    kind = _annotated_kind(before or annotated or predict)
    return Steps(before, predict, after, annotated or predict), kind


def _positional(function: Any) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]


def _annotated_kind(function: Any) -> str:
    """The input kind that the annotation of the last parameter without a default speaks of."""
    wanted = [one for one in _positional(function) if one.default is one.empty]
    said = wanted[-1].annotation if wanted else ""
    text = said if isinstance(said, str) else getattr(said, "__name__", str(said))
    for kind, word in (("dataframe", "DataFrame"), ("ndarray", "ndarray"), ("bytes", "bytes")):
        if word in text:
            return kind
    return "json"


def check_packages(kind: str) -> None:
    """Import what the input kind needs now, so that no request has to wait for it or fail."""
    for package, needed in (("numpy", ("ndarray", "dataframe")), ("pandas", ("dataframe",))):
        if kind in needed:
            try:
                __import__(package)
            except ImportError as error:
                raise Unusable(f'input = "{kind}" needs {package} in requirements.txt.') from error


# Streams and tasks. asyncio is imported where it is used: plain models shall start without it.


class Steps:
    """preprocess, predict and postprocess as one; each may be `async`, and predict may yield.

    streams, tasks: whether predict is known to yield items, and whether anything is asynchronous.
    """

    def __init__(self, before: Any, predict: Any, after: Any, written: Any) -> None:
        self.before, self.predict, self.after = before, predict, after
        plain = [inspect.unwrap(one) for one in (before, written, after) if one]
        main = inspect.unwrap(written)
        self.streams = inspect.isgeneratorfunction(main) or inspect.isasyncgenfunction(main)
        self.tasks = inspect.isasyncgenfunction(main) or any(
            inspect.iscoroutinefunction(one) for one in plain
        )

    def __call__(self, inputs: Any) -> Any:
        if self.before is not None:
            inputs = self.before(inputs)
            if inspect.iscoroutine(inputs):
                return self._later(inputs)
        return self._rest(self.predict(inputs))

    async def _later(self, inputs: Any) -> Any:
        result = self._rest(self.predict(await inputs))
        return await result if inspect.iscoroutine(result) else result

    def _rest(self, outputs: Any) -> Any:
        """postprocess, for the outputs or for each item of them."""
        after = self.after
        if after is None:
            return outputs
        if inspect.isgenerator(outputs):
            if not inspect.iscoroutinefunction(after):
                return _each(outputs, after)
            outputs = _paced(outputs)
        if inspect.isasyncgen(outputs):
            return _each_later(outputs, after)
        return self._awaited(outputs) if inspect.iscoroutine(outputs) else after(outputs)

    async def _awaited(self, outputs: Any) -> Any:
        result = self._rest(await outputs)
        return await result if inspect.iscoroutine(result) else result


def _each(items: Any, after: Any) -> Iterator[Any]:
    with contextlib.closing(items):
        for item in items:
            yield after(item)


async def _each_later(items: Any, after: Any) -> AsyncIterator[Any]:
    try:
        async for item in items:
            result = after(item)
            yield await result if inspect.iscoroutine(result) else result
    finally:
        await items.aclose()


_ENDED = {"end": True}
_CANCELLED = {"error": "model", "raised": "CancelledError"}


def run(awaitable: Any) -> Any:
    """Run what a plain worker was unexpectedly given to await, on a loop that is kept."""
    return _loop().run_until_complete(awaitable)


@lru_cache(maxsize=None)
def _loop() -> Any:
    import asyncio

    return asyncio.new_event_loop()


def settled(result: Any) -> Any:
    """The result with nothing left to await: a plain value or a plain generator."""
    if inspect.iscoroutine(result):
        result = run(result)
    return _drawn(result) if inspect.isasyncgen(result) else result


def _drawn(items: Any) -> Iterator[Any]:
    """An asynchronous generator as a plain one."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())


def stream(sock: socket.socket, number: int, items: Any) -> tuple[dict[str, Any], bytes]:
    """Send each item as it comes; the last frame. Stops when the front cancels."""
    unread = 0
    with contextlib.closing(items):
        for item in items:
            header, body = encode(item)
            send(sock, {**header, "id": number, "item": True}, body)
            unread += len(body)
            while unread >= WINDOW or _something(sock):
                said = receive(sock)[0]
                if said.get("cancel") == number:
                    return _ENDED, b""
                if said.get("more") == number:
                    unread -= said["bytes"]
    return _ENDED, b""


def _something(sock: socket.socket) -> bool:
    """Whether the front has said something."""
    watch = select.poll()
    watch.register(sock, select.POLLIN)
    return bool(watch.poll(0))


class Tasks:
    """Predicts many requests at once, each a task of one event loop."""

    def __init__(self, predict: Callable[[Any], Any], kind: str) -> None:
        self.predict, self.kind = predict, kind
        self.running: dict[int, Any] = {}
        self.unread: dict[int, int] = {}
        self.taken: dict[int, Any] = {}

    async def serve(self, sock: socket.socket) -> None:
        """Until the front is gone."""
        import asyncio

        self.loop = asyncio.get_running_loop()
        reader, self.writer = await asyncio.open_connection(sock=sock)
        try:
            while True:
                sizes = HEAD.unpack(await reader.readexactly(HEAD.size))
                header = json.loads(await reader.readexactly(sizes[0]))
                self._heard(header, bytearray(await reader.readexactly(sizes[1])))
        except (asyncio.IncompleteReadError, OSError):
            pass  # asyncio.run cancels what is left

    def _heard(self, header: dict[str, Any], payload: bytearray) -> None:
        if "ping" in header:
            self._send({"pong": header["ping"]})
        elif "cancel" in header:
            task = self.running.get(header["cancel"])
            if task is not None:
                task.cancel()
        elif "more" in header:
            if header["more"] in self.unread:
                self.unread[header["more"]] -= header["bytes"]
                self.taken[header["more"]].set()
        else:
            number = header["id"]
            task = self.loop.create_task(self._answer(number, header, payload))
            self.running[number] = task
            task.add_done_callback(lambda done: self._done(number, done))

    def _done(self, number: int, task: Any) -> None:
        """Send the last frame of a task, which may have been cancelled before it began."""
        del self.running[number]
        self.unread.pop(number, None)
        self.taken.pop(number, None)
        said, body = (_CANCELLED, b"") if task.cancelled() else task.result()
        self._send({**said, "id": number}, body)

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.writer.write(frame_head(header, payload) + payload)

    async def _answer(
        self, number: int, header: dict[str, Any], payload: bytearray
    ) -> tuple[dict[str, Any], bytes]:
        import asyncio

        try:
            return await self._result(number, header, payload)
        except BadInput as error:
            return {"error": "input", "raised": str(error)}, b""
        except asyncio.CancelledError:
            return _CANCELLED, b""
        except BaseException as error:
            log_failure(error)
            return {"error": "model", "raised": type(error).__name__}, b""

    async def _result(
        self, number: int, header: dict[str, Any], payload: bytearray
    ) -> tuple[dict[str, Any], bytes]:
        if header["kind"] == "parquet":
            return convert(payload)
        result = self.predict(decode(header, payload, self.kind))
        if inspect.isawaitable(result):
            result = await result
        if inspect.isgenerator(result):
            result = _paced(result)
        if not inspect.isasyncgen(result):
            return encode(result)
        try:
            await self._stream(number, result)
        finally:
            await result.aclose()
        return _ENDED, b""

    async def _stream(self, number: int, items: Any) -> None:
        import asyncio

        self.unread[number] = 0
        taken = self.taken[number] = asyncio.Event()
        async for item in items:
            header, body = encode(item)
            self._send({**header, "id": number, "item": True}, body)
            self.unread[number] += len(body)
            await self.writer.drain()
            await asyncio.sleep(0)
            while self.unread[number] >= WINDOW:
                taken.clear()
                await taken.wait()


async def _paced(items: Any) -> AsyncIterator[Any]:
    """A plain generator among tasks, which get their turn after each item."""
    import asyncio

    with contextlib.closing(items):
        for item in items:
            yield item
            await asyncio.sleep(0)


# What the sandbox forbids

ON_A_SERVER = 'see docs/serving/script.md, "On a server"'


def forbidden(error: BaseException) -> str:
    """What may be behind an error in a service under systemd, for its log; else nothing."""
    folder = os.environ.get("CACHE_DIRECTORY", "")
    if "rhythmicml-" not in folder:
        return ""
    system = "STATE_DIRECTORY" in os.environ
    said = next(filter(None, (_forbidden(each, folder, system) for each in behind(error))), "")
    return said and f"{said}; {ON_A_SERVER}."


def behind(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _forbidden(error: BaseException, folder: str, system: bool) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if type(error).__name__ == "OperationalError" and str(error).startswith(_SQLITE):
        return "Files of a release cannot be changed: open SQLite's with ?mode=ro&immutable=1"
    if code == errno.EROFS:
        return f"A model on a server writes only to {folder} and to folders for temporary files"
    if system and (isinstance(error, (socket.gaierror, socket.timeout)) or code in _NO_WAY_OUT):
        return "The service of a system-wide installation reaches no other host, if it tried to"
    if code == errno.EAFNOSUPPORT:
        return "A service has only IP and Unix sockets"
    if code in (errno.EPERM, errno.EACCES):
        return "The service's sandbox may forbid it"
    return ""


_SQLITE = ("unable to open database file", "attempt to write a readonly database")
_NO_WAY_OUT = (errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH)


def log_failure(error: BaseException) -> None:
    """Its traceback, and what the sandbox may have to do with it."""
    traceback.print_exc()
    if why := forbidden(error):
        print(f"worker: {why}", file=sys.stderr, flush=True)


# The life of a worker


def die_with_the_front() -> None:
    """Ask Linux for a SIGKILL when the front dies; elsewhere the end of the socket must do."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except Exception:
        pass


def start(order: dict[str, Any]) -> tuple[Callable[[Any], Any], str]:
    """Load what the front's first frame names: the callable and its input kind."""
    predict, kind = load_model(
        load_script(order["script"]), Path(os.path.abspath(order["artifacts"]))
    )
    kind = kind if kind == "text" else (order["input"] or kind)
    check_packages(kind)
    return predict, kind


def answer(
    predict: Callable[[Any], Any],
    kind: str,
    header: dict[str, Any],
    payload: bytearray,
    sock: socket.socket,
) -> tuple[dict[str, Any], bytes]:
    """Header and payload of the answer to one frame, the last one of a stream's; the traceback
    of a failure is logged."""
    try:
        if header["kind"] == "parquet":
            return convert(payload)
        result = settled(predict(decode(header, payload, kind)))
        if inspect.isgenerator(result):
            return stream(sock, header["id"], result)
        return encode(result)
    except FrontGone:
        raise
    except BadInput as error:
        return {"error": "input", "raised": str(error)}, b""
    except BaseException as error:
        log_failure(error)
        return {"error": "model", "raised": type(error).__name__}, b""


class Template:
    """Forks workers of this process, which has loaded the model and never predicts.

    Orders: {"fork": number} with the socket the worker shall use, {"kill": number}. What is said:
    {"ended": number, "code": exit code}. Kills go through here since only a parent can be sure
    that a pid is still that of its child.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.workers: dict[int, int] = {}  # pid -> number

    def fork(self) -> socket.socket:
        """The worker's own socket, in each worker. Raises EOFError here when the front is gone."""
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self.wake, False)
        self.before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # so that collecting in a worker writes to no page that all share
        watch = select.poll()
        watch.register(self.sock, select.POLLIN)
        watch.register(self.woken, select.POLLIN)
        while True:
            ready = [fd for fd, _ in watch.poll()]
            if self.woken in ready:
                os.read(self.woken, 4096)
                self.reap()
            if self.sock.fileno() in ready:
                number, fd = self.order()
                if fd is not None and self.worker(number):
                    return self.leave(fd)
                if fd is not None:
                    os.close(fd)

    def order(self) -> tuple[int, int | None]:
        """The next order's number, and the socket's descriptor when it is to fork."""
        size = struct.calcsize("i")
        head, passed, _, _ = self.sock.recvmsg(HEAD.size, socket.CMSG_SPACE(size))
        if not head:
            raise EOFError
        head += _receive_exactly(self.sock, HEAD.size - len(head))
        order = json.loads(_receive_exactly(self.sock, HEAD.unpack(head)[0]))
        if "fork" in order:
            return order["fork"], struct.unpack("i", passed[0][2][:size])[0]
        for pid in [pid for pid, number in self.workers.items() if number == order["kill"]]:
            os.kill(pid, signal.SIGKILL)
        return 0, None

    def worker(self, number: int) -> bool:
        """Fork; whether this is the worker."""
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self.workers[pid] = number
            return False
        die_with_the_front()
        if os.getppid() != parent:
            os._exit(0)
        return True

    def leave(self, fd: int) -> socket.socket:
        """Become a plain worker: put away what is the template's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self.before or signal.SIG_DFL)
        for each in (self.woken, self.wake):
            os.close(each)
        self.sock.close()
        return socket.socket(fileno=fd)

    def reap(self) -> None:
        for pid in list(self.workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                send(self.sock, {"ended": self.workers.pop(pid), "code": code})


def failure(error: BaseException) -> dict[str, Any]:
    """What the front is told of a load that failed."""
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    why = forbidden(error)
    last = f"{last}. {why}" if why else last
    return {"failed": last, "traceback": traceback.format_exc()[-LONGEST_TRACEBACK:]}


def main(fd: int) -> int:
    die_with_the_front()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[0] = os.getcwd()
    sock = socket.socket(fileno=fd)
    try:
        order = receive(sock)[0]
        os.environ.update(order.pop("secrets", {}))  # /proc/PID/environ shows none of them
        try:
            predict, kind = start(order)
        except BaseException as error:
            log_failure(error)
            send(sock, failure(error))
            return 1
        streams, tasks = getattr(predict, "streams", False), getattr(predict, "tasks", False)
        about = {"ready": kind, "streams": streams, "async": tasks}
        if order.get("preload"):
            send(sock, about)
            sock = Template(sock).fork()
        send(sock, {**about, "pid": os.getpid()})
        if tasks:
            import asyncio

            asyncio.run(Tasks(predict, kind).serve(sock))
            return 0
        while True:
            header, payload = receive(sock)
            if "kind" in header:  # else it is about a stream that has ended
                result, body = answer(predict, kind, header, payload, sock)
                send(sock, {**result, "id": header["id"]}, body)
    except (EOFError, OSError):
        return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the model's threads and exit handlers shall not keep it

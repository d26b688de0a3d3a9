"""Runs one model: the far end of the front, in the model's own environment and Python (3.8+).

Started as `python worker.py FD` with the release's files as working directory; FD is a socket to
the front. One file, standard library only, so that no package of the model can be in its way.

A frame, both ways: `!IQ` (length of the header, length of the payload), a JSON header, a payload.
The front's first frame says which script to load; the answer is {"ready": …} or {"failed": …}.
Each later frame holds rows to predict on and gets one frame back.

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

import importlib.util
import inspect
import json
import math
import os
import signal
import socket
import struct
import traceback
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("dataframe", "ndarray", "json", "bytes")
HEAD = struct.Struct("!IQ")


# Frames


def receive(sock: socket.socket) -> tuple[dict[str, Any], bytearray]:
    """The next frame as header and payload; raises EOFError when the front is gone."""
    lengths = HEAD.unpack(_receive_exactly(sock, HEAD.size))
    header = json.loads(_receive_exactly(sock, lengths[0]))
    return header, _receive_exactly(sock, lengths[1])


def _receive_exactly(sock: socket.socket, size: int) -> bytearray:
    received = bytearray(size)  # writable, so that arrays made on it are
    view = memoryview(received)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return received


def send(sock: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(header).encode()
    head = HEAD.pack(len(text), len(payload)) + text
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
    frame = pandas.DataFrame(dict(enumerate(columns)))
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
    if pandas is not None and isinstance(result, (pandas.Series, pandas.Index)):
        return result.to_numpy()
    if hasattr(result, "detach"):
        result = result.detach().cpu()
    if hasattr(result, "toarray"):
        result = result.toarray()
    return numpy.asarray(result) if hasattr(result, "__array__") else None


def _buffer(array: Any) -> tuple[str, bytes] | None:
    """Code and little-endian bytes of an array of plain numbers; None for other arrays."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return "?", array.tobytes()
    if kind == "f":
        code = "f" if size <= 4 else "d"
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
        array = frame.iloc[:, position].to_numpy()
        code, part = _buffer(array) or ("j", to_json(_plain_array(numpy, array)))
        codes.append(code)
        sizes.append(len(part))
        parts.append(part)
    names = [str(name) for name in frame.columns]
    return {"kind": "table", "names": names, "codes": codes, "sizes": sizes}, b"".join(parts)


def to_json(value: Any) -> bytes:
    """JSON text with null for NaN, which is no JSON."""
    try:
        text = json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError):
        text = json.dumps(_clean(value), allow_nan=False)
    return text.encode()


def _plain(value: Any) -> Any:
    """A JSON-able stand-in for a value that is not."""
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
    if not before and not after:
        return predict, kind

    def run(inputs: Any) -> Any:
        outputs = predict(before(inputs) if before else inputs)
        return after(outputs) if after else outputs

    return run, kind


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
    predict: Callable[[Any], Any], kind: str, header: dict[str, Any], payload: bytearray
) -> tuple[dict[str, Any], bytes]:
    """Header and payload of the answer to one frame; the traceback of a failure is logged."""
    try:
        inputs = decode(header, payload, kind)
        return encode(predict(inputs))
    except BadInput as error:
        return {"error": "input", "raised": str(error)}, b""
    except BaseException as error:
        traceback.print_exc()
        return {"error": "model", "raised": type(error).__name__}, b""


def main(fd: int) -> int:
    die_with_the_front()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[0] = os.getcwd()
    sock = socket.socket(fileno=fd)
    try:
        order = receive(sock)[0]
        try:
            predict, kind = start(order)
        except BaseException as error:
            traceback.print_exc()
            send(sock, {"failed": traceback.format_exception_only(type(error), error)[-1].strip()})
            return 1
        send(sock, {"ready": kind})
        while True:
            header, payload = receive(sock)
            result, body = answer(predict, kind, header, payload)
            result["id"] = header["id"]
            send(sock, result, body)
    except (EOFError, OSError):
        return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the model's threads and exit handlers shall not keep it

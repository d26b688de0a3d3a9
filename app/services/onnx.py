"""What an ONNX model takes, read from the file's bytes: a few fields of its protocol buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TYPES = {1: "float32", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
GRAPH, INITIALIZER, INPUT = 7, 5, 11
INITIALIZER_NAME, INPUT_NAME, INPUT_TYPE = 8, 1, 2
TENSOR, ELEMENT, SHAPE, DIMENSION, SIZE = 1, 1, 2, 1, 1


@dataclass(frozen=True)
class Input:
    """dtype: numpy's name; empty for what is no number. shape: 0 is any size."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def inputs(data: bytes) -> tuple[Input, ...] | None:
    """What a caller has to give; None when that cannot be read. data: the file from its start."""
    try:
        graph = next(value for key, value in _fields(data) if key == GRAPH)
        fields = [each for each in _fields(_bytes(graph)) if each[0] in (INITIALIZER, INPUT)]
        weights = {_name(value, INITIALIZER_NAME) for key, value in fields if key == INITIALIZER}
        found = tuple(_input(_bytes(value)) for key, value in fields if key == INPUT)
    except (ValueError, IndexError, StopIteration, KeyError):
        return None
    return tuple(each for each in found if each.name not in weights)


def _input(data: bytes) -> Input:
    tensor = _bytes(dict(_fields(_bytes(dict(_fields(data))[INPUT_TYPE])))[TENSOR])
    said = dict(_fields(tensor))
    shape = _bytes(said.get(SHAPE, b""))
    sizes = [dict(_fields(_bytes(each))).get(SIZE, 0) for key, each in _fields(shape)]
    return Input(
        _name(data, INPUT_NAME),
        TYPES.get(_number(said[ELEMENT]), ""),
        tuple(map(_number, sizes)),
    )


def _name(data: bytes | int, key: int) -> str:
    return _bytes(dict(_fields(_bytes(data))).get(key, b"")).decode()


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _number(value: bytes | int) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field. Raises ValueError, IndexError at what is cut off."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind, 0)
        if kind == LENGTH:
            size, at = _varint(data, at)
        if (not size and kind != LENGTH) or at + size > len(data):
            raise ValueError("no field, or not all of it")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where the next thing begins."""
    number = 0
    for place in range(10):
        byte = data[at + place]
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    raise ValueError("no number is that long")

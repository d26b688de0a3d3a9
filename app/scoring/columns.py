"""From a flat list of JSON values to the buffer that travels: what the sample taught, or declared.

Numbers travel as raw little-endian buffers, all else as JSON text. The code of a buffer is numpy's
letter, `M8[us]` for times, `i:[…]` for places in that list of categories; that of JSON text is `j`,
or `j:` and what the worker makes of it (`Int64`, `boolean`, `category`, `base64`).
"""

from __future__ import annotations

import re
import struct
from array import array
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, Union

import msgspec

from .errors import Refusal, bad_input
from .schema import CODES, FLOATS, Field, whole

encode = msgspec.json.encode
NAN = float("nan")
OBJECT = "j"
NOT_A_TIME = -(2**63)
MOST_LISTED = 10  # allowed values that an error names
MOST_SHOWN = 1000  # and their characters


Buffer = Union[bytes, memoryview]


class Packed(NamedTuple):
    code: str
    data: Buffer


_NONE = type(None)
_FLOAT, _BOOL, _TEXT = {float}, {bool}, {str, _NONE}
_NUMBERS = {int, float, bool}
_NULLABLE = {*_NUMBERS, _NONE}


def pack(values: Sequence[Any], wanted: str = "") -> Packed:
    """The values in the narrowest buffer: integers, floats (null is NaN), booleans; else JSON text.

    wanted: the code the model's sample had; integers become floats for it.
    """
    kinds = set(map(type, values))
    if kinds == _FLOAT:
        return Packed("d", array("d", values).tobytes())
    if wanted == OBJECT:
        return _objects(values)
    if _NONE in kinds:
        return _pack_with_nulls(values, kinds, wanted)
    if kinds == _BOOL and wanted in ("", "?"):
        return Packed("?", bytes(values))
    if kinds and kinds <= _NUMBERS:
        return _pack_numbers(values, float in kinds or wanted == "d")
    return Packed(wanted or "d", b"") if not kinds else _objects(values)


def _pack_numbers(values: Sequence[Any], floats: bool) -> Packed:
    try:
        return Packed("d" if floats else "q", array("d" if floats else "q", values).tobytes())
    except OverflowError:
        return _objects(values) if floats else _pack_numbers(values, True)


def _pack_with_nulls(values: Sequence[Any], kinds: set[type], wanted: str) -> Packed:
    if kinds - {_NONE} <= (_NUMBERS if wanted else {int, float}):
        return _pack_numbers([NAN if value is None else value for value in values], True)
    return _objects(values)


def _objects(values: Sequence[Any]) -> Packed:
    return Packed(OBJECT, encode(list(values))[1:-1])


class Numbers:
    """A column of numbers that came as bytes. They go on as they are where their type fits."""

    __slots__ = ("code", "data")

    def __init__(self, code: str, data: Buffer) -> None:
        self.code = code
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // struct.calcsize(self.code)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def values(self) -> list[Any]:
        return list(struct.unpack(f"<{len(self)}{self.code}", self.data))

    def packed(self, wanted: str) -> Packed:
        """The very bytes when nothing else is wanted."""
        if wanted in ("", self.code):
            return Packed(self.code, self.data)
        return pack(self.values(), wanted)

    def column(self, number: int, width: int) -> Numbers:
        """One column of the matrix of this width that these are."""
        size = struct.calcsize(self.code)
        items = memoryview(self.data).cast("B").cast(_UNSIGNED[size])
        return Numbers(self.code, items[number::width].tobytes())


_UNSIGNED: dict[int, Any] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Learned(NamedTuple):
    """A column (or, without a name, a matrix) held to what the sample had.

    code: of the sample, "" without one. text: whether it held only text.
    """

    name: str = ""
    code: str = ""
    text: bool = False

    @property
    def textual(self) -> bool:
        """Whether a field of CSV is to stay text."""
        return self.text

    def pack(self, values: Any, width: int = 1) -> Packed:
        """Their buffer. width: of a row of the matrix. Raises a Refusal when they do not fit."""
        if type(values) is Numbers:
            if not self.text:
                return values.packed(self.code)
            values = values.values()
        packed = pack(values, self.code)
        if not self.text and (packed.code != OBJECT or self.code in ("", OBJECT)):
            return packed
        fits, wanted = (_TEXT, "text") if self.text else (_NULLABLE, "a number")
        if self.text and set(map(type, values)) <= fits:
            return packed
        for place, value in enumerate(values):
            if type(value) not in fits:
                raise unfit(self.name, place // width, wanted, got(value))
        raise unfit(self.name, 0, wanted, "one that is too large")


class Wrong(Exception):
    """What was expected of a value, and what was there instead."""


class Declared:
    """A column (or, without a name, a matrix) held to its field in `[schema]`.

    frame: for a pandas data frame, which has dtypes that numpy has not.
    """

    def __init__(self, field: Field, name: str, frame: bool) -> None:
        self.field = field
        self.name = name
        self.text = False
        self.code = wire_code(field, frame)
        self.low, self.high = field.limits
        self.bounded = whole(field.type) or field.type in FLOATS
        narrowed = (field.min, field.max, field.values) != (None, None, None)
        self.free = not narrowed and (field.nullable or field.type not in FLOATS)
        self.values = None if field.values is None else list(field.values)
        self.allowed = listed(self.values or ())
        self.kinds = _PLAIN.get(field.type, {int} if whole(field.type) else set())
        self.textual = field.type in ("string", "category", "datetime", "bytes")
        self.normal = getattr(self, f"_{_FAMILY.get(field.type) or field.type}", self._number)

    def pack(self, values: Any, width: int = 1) -> Packed:
        """Their buffer. width: of a row of the matrix. Raises a Refusal when they do not fit."""
        if type(values) is Numbers:
            if values.code == self.code and self.free:
                return Packed(self.code, values.data)
            values = values.values()
        if not self._plain(values):
            values = [self._checked(value, n // width) for n, value in enumerate(values)]
        return Packed(self.code, buffer(self.code, values, self.values))

    def _plain(self, values: Sequence[Any]) -> bool:
        """Whether all fit as they are, which is seen without looking at each from Python."""
        if not values or not set(map(type, values)) <= self.kinds:
            return not values
        if self.values is not None and not set(values) <= set(self.values):
            return False
        return not self.bounded or (self.low <= min(values) and max(values) <= self.high)

    def _checked(self, value: Any, row: int) -> Any:
        try:
            if value is None:
                if self.field.nullable:
                    return None
                raise Wrong(_WORDS.get(self.field.type, "a value"), "null")
            checked = self.normal(value)
            if self.values is not None and value not in self.values:
                raise Wrong(self.allowed, "another one")
            return checked
        except Wrong as wrong:
            raise unfit(self.name, row, *wrong.args) from None

    def _number(self, value: Any) -> Any:
        if type(value) not in (int, float):
            raise Wrong(_WORDS.get(self.field.type, "a number"), got(value))
        if value < self.low:
            raise Wrong(f"at least {self.low:g}", "a smaller one")
        if value > self.high:
            raise Wrong(f"at most {self.high:g}", "a larger one")
        return value

    def _whole(self, value: Any) -> int:
        if type(value) is float and not value.is_integer():
            raise Wrong("a whole number", "a fraction")
        if type(value) not in (int, float):
            raise Wrong("a whole number", got(value))
        return int(self._number(int(value)))

    def _bool(self, value: Any) -> bool:
        if type(value) is not bool:
            raise Wrong("true or false", got(value))
        return value

    def _string(self, value: Any) -> str:
        if type(value) is not str:
            raise Wrong("text", got(value))
        return value

    def _datetime(self, value: Any) -> int:
        return microseconds(self._string_of(value, "a time as text"))

    def _bytes(self, value: Any) -> str:
        text = self._string_of(value, "base64 text")
        try:
            b64decode(text, validate=True)
        except (NotBase64, ValueError):
            raise Wrong("base64 text", "other text") from None
        return text

    def _string_of(self, value: Any, wanted: str) -> str:
        if type(value) is not str:
            raise Wrong(wanted, got(value))
        return value

    def _json(self, value: Any) -> Any:
        return value


Column = Union[Learned, Declared]

_PLAIN: dict[str, set[type]] = {
    "bool": {bool}, "string": {str}, "category": {str},
    "float16": {int, float}, "float32": {int, float}, "float64": {int, float},
}  # fmt: skip
_FAMILY = {"category": "string", **{name: "whole" for name in CODES if whole(name)}}
_WORDS = {
    "bool": "true or false",
    "string": "text",
    "category": "text",
    "datetime": "a time as text",
    "bytes": "base64 text",
    **{name: "a whole number" if whole(name) else "a number" for name in CODES if name != "bool"},
}


def wire_code(field: Field, frame: bool) -> str:
    """The code that values of this field travel under."""
    code = CODES.get(field.type)
    if code is not None:
        if not field.nullable or field.type in FLOATS:
            return code
        if not frame:
            return "d"  # numpy has no null but NaN
        pandas = field.type.replace("uint", "UInt").replace("int", "Int")
        return f"j:{'boolean' if code == '?' else pandas}"
    if field.type == "datetime":
        return "M8[us]"
    if field.type == "bytes":
        return "j:base64"
    if field.type == "category" and frame:
        return f"i:{encode(field.values).decode()}" if field.values else "j:category"
    return OBJECT


def is_text(code: str) -> bool:
    """Whether buffers of this code are JSON text, joined with commas."""
    return code[0] == OBJECT


def buffer(code: str, values: Sequence[Any], listed: Any = None) -> bytes:
    """Checked values as they travel under a code."""
    if is_text(code):
        return encode(values)[1:-1]
    if code[1:]:  # times, or places among the categories
        if code[0] == "M":
            return array(
                "q", [NOT_A_TIME if value is None else value for value in values]
            ).tobytes()
        places: dict[Any, int] = {None: -1, **{value: n for n, value in enumerate(listed)}}
        return array("i", map(places.__getitem__, values)).tobytes()
    if code in "efd":
        values = [NAN if value is None else value for value in values]
    if code == "?":
        return bytes(values)
    if code == "e":
        return struct.pack(f"<{len(values)}e", *values)
    return array(code, values).tobytes()


# Every text that `datetime` takes: a day of the calendar, perhaps a time, perhaps an offset.
_LEAP = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29"
_DAY = (
    r"(?!0000)[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
TIME = rf"^({_LEAP}|{_DAY})([Tt ]{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,9}})?)?([Zz]|[+-]{_CLOCK})?)?$"
_TIME = re.compile(TIME.replace("$", r"\Z")).match
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(text: str) -> int:
    """An ISO 8601 time since 1970, in UTC, which it is in when it names no offset."""
    if not _TIME(text):
        raise Wrong("a time such as 2026-10-01T12:00:00Z", "other text")
    text = text.upper().replace("Z", "+00:00").replace(" ", "T")
    text = re.sub(r"\.([0-9]+)", lambda found: f".{found[1]:0<6}"[:7], text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // _MICROSECOND


def listed(values: Sequence[Any]) -> str:
    """The allowed values in words, by name when they are few and short."""
    shown = [encode(value).decode() for value in values]
    if len(shown) > MOST_LISTED or sum(map(len, shown)) > MOST_SHOWN:
        return "one of its allowed values"
    return f"one of {', '.join(shown)}"


def got(value: Any) -> str:
    """Which kind of value it is; never the value itself."""
    return _KINDS.get(type(value), "something else")


_KINDS: dict[Any, str] = {
    str: "text", list: "a list", dict: "an object", _NONE: "null", bool: "true or false",
    int: "a number", float: "a number",
}  # fmt: skip


def unfit(name: str, row: int, wanted: str, given: str) -> Refusal:
    """One value is not what its column takes."""
    where = f'Column "{name}", row {row}' if name else f"Row {row}"
    return bad_input(f"{where}: expected {wanted}, got {given}.")

"""Strict canonical forms of frozen dataclasses (layer 1, no I/O).

A `Form` turns a Python value into what `canonical.encode` takes and back.  Forms are built from the small ones below,
so that a class is described once and its encoder and its decoder cannot drift apart.  Decoding trusts nothing: it
checks types (`True` is no integer), ranges, lengths and tags, accepts one spelling alone, and raises `FormError` with
the path to the first thing that is wrong.  Rejected: pickles of any kind, and per-class `from_value` written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")

TEXT_BYTES_MAX: Final = 4096
ITEMS_MAX: Final = 65_536
BIG_BITS_MAX: Final = 512


class FormError(ValueError):
    """Not the canonical form of the expected class; `str(error)` starts with the path to the place."""

    def within(self, place: str) -> FormError:
        """The same error, seen from one level further out."""
        return FormError(f"{place}.{self}" if not str(self).startswith("[") else f"{place}{self}")


class Form(Generic[T]):
    """A pair of functions: to the canonical value and strictly back."""

    __slots__ = ("decode", "encode")

    def __init__(self, encode: Callable[[T], object], decode: Callable[[object], T]) -> None:
        self.encode = encode
        self.decode = decode


def integer(low: int, high: int) -> Form[int]:
    """An integer in [low, high], which must lie within 64 bits."""
    assert -(2**63) <= low <= high < 2**64

    def decode(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise FormError(f": expected an integer in [{low}, {high}]")
        return value

    return Form(lambda value: value, decode)


def _encode_big(value: int) -> object:
    return value if -(2**63) <= value < 2**63 else str(value)


def _decode_big(value: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str) and len(value) <= BIG_BITS_MAX // 3:
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and digits[0] != "0":
            number = int(value)
            if number.bit_length() <= BIG_BITS_MAX and not -(2**63) <= number < 2**63:
                return number
    raise FormError(": expected an integer (as a decimal string where it exceeds 64 bits)")


big: Final[Form[int]] = Form(_encode_big, _decode_big)
"""Any integer up to 512 bits: as an integer within 64 bits signed, as a decimal string beyond."""


def _decode_boolean(value: object) -> bool:
    if type(value) is not bool:
        raise FormError(": expected true or false")
    return value


boolean: Final[Form[bool]] = Form(lambda value: value, _decode_boolean)


def text(bytes_max: int = TEXT_BYTES_MAX) -> Form[str]:
    """A string of at most `bytes_max` bytes of UTF-8."""

    def decode(value: object) -> str:
        if not isinstance(value, str) or len(value.encode()) > bytes_max:
            raise FormError(f": expected a string of at most {bytes_max} bytes")
        return value

    return Form(lambda value: value, decode)


def word(*words: str) -> Form[Any]:
    """One of a closed list of words."""
    allowed = frozenset(words)

    def decode(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise FormError(f": expected one of {', '.join(sorted(allowed))}")
        return value

    return Form(lambda value: value, decode)


def optional(inner: Form[T]) -> Form[T | None]:
    """The inner form or nil."""
    return Form(
        lambda value: None if value is None else inner.encode(value),
        lambda value: None if value is None else inner.decode(value),
    )


def sequence(inner: Form[T], count_max: int = ITEMS_MAX, count_min: int = 0) -> Form[tuple[T, ...]]:
    """A tuple, as an array of count_min to count_max items."""

    def decode(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not count_min <= len(value) <= count_max:
            raise FormError(f": expected a list of {count_min} to {count_max} items")
        items: list[T] = []
        for index, item in enumerate(value):
            try:
                items.append(inner.decode(item))
            except FormError as error:
                raise error.within(f"[{index}]") from None
        return tuple(items)

    return Form(lambda value: [inner.encode(item) for item in value], decode)


def pair(first: Form[T], second: Form[Any]) -> Form[Any]:
    """A tuple of two."""

    def decode(value: object) -> tuple[T, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise FormError(": expected a list of 2 items")
        return first.decode(value[0]), second.decode(value[1])

    return Form(lambda value: [first.encode(value[0]), second.encode(value[1])], decode)


def record(kind: type[T], /, **fields: Form[Any]) -> Form[T]:
    """A frozen dataclass, as a map from field name to the field's form; no field may be missing or added."""
    names = tuple(fields)

    def encode(value: T) -> object:
        return {name: fields[name].encode(getattr(value, name)) for name in names}

    def decode(value: object) -> T:
        if not isinstance(value, dict) or value.keys() != fields.keys():
            raise FormError(f": expected a map with exactly the fields {', '.join(names)}")
        return _construct(kind, names, fields, [value[name] for name in names])

    return Form(encode, decode)


def _construct(kind: type[T], names: Sequence[str], fields: Mapping[str, Form[Any]], items: Sequence[object]) -> T:
    arguments: dict[str, object] = {}
    for name, item in zip(names, items, strict=True):
        try:
            arguments[name] = fields[name].decode(item)
        except FormError as error:
            raise error.within(name) from None
    try:
        return kind(**arguments)
    except FormError:
        raise
    except ValueError as error:
        raise FormError(f": {error}") from None


class Union(Form[T]):
    """One of several dataclasses, as an array `[tag, field, ...]`; may refer to itself.

    Tags are added after construction with `add`, which lets the forms of an expression tree be recursive.
    """

    __slots__ = ("_by_class", "_by_tag", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._by_tag: dict[str, tuple[type[Any], tuple[str, ...], dict[str, Form[Any]]]] = {}
        self._by_class: dict[type[Any], tuple[str, tuple[str, ...], dict[str, Form[Any]]]] = {}
        super().__init__(self._encode, self._decode)

    def add(self, tag: str, kind: type[Any], /, **fields: Form[Any]) -> None:
        """Let `tag` stand for dataclass `kind` with these fields, in this order."""
        assert tag not in self._by_tag
        assert kind not in self._by_class
        self._by_tag[tag] = (kind, tuple(fields), fields)
        self._by_class[kind] = (tag, tuple(fields), fields)

    def _encode(self, value: T) -> object:
        tag, names, fields = self._by_class[type(value)]
        return [tag, *(fields[name].encode(getattr(value, name)) for name in names)]

    def _decode(self, value: object) -> T:
        if not isinstance(value, list) or not value or not isinstance(value[0], str) or value[0] not in self._by_tag:
            raise FormError(f": expected {self._name} as a list that starts with one of {', '.join(self._by_tag)}")
        kind, names, fields = self._by_tag[value[0]]
        if len(value) != len(names) + 1:
            raise FormError(f": expected {len(names)} fields after {value[0]!r}")
        try:
            return cast("T", _construct(kind, names, fields, value[1:]))
        except FormError as error:
            raise error.within(value[0]) from None

"""A TOML text with the line of everything in it, and readers that answer `file:line: what to do` (pure).

`tomllib` decides what the text means, but drops where things stood.  `lines_of` walks the same text a second time and
notes the line of each key, array element and table under the path that `tomllib`'s result has it at.  It runs only on
text that `tomllib` accepted, so it needs to know where values end, not whether they are right.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Self, cast

from mpcd import limits
from mpcd.errors import ConfigurationInvalid

Path = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)+")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'  # multi-line basic
    r"|'''.*?'{3,5}(?!')"  # multi-line literal
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")
_ERROR_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")


class _Scanner:
    """One walk over valid TOML."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.table_counts: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._skip_blank()
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(2)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
            self._skip_blank()
        return self.lines

    def _move(self, end: int) -> str:
        taken = self.text[self.at : end]
        self.line += taken.count("\n")
        self.at = end
        return taken

    def _skip_blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        if found:
            self._move(found.end())

    def _header(self, brackets: int) -> Path:
        line = self.line
        self._move(self.at + brackets)
        parts = self._key()
        self._move(self.at + brackets)
        path: Path = ()
        for place, part in enumerate(parts):
            path = (*path, part)
            if brackets == 2 and place == len(parts) - 1:
                self.table_counts[path] = self.table_counts.get(path, 0) + 1
            self.lines.setdefault(path, line)
            if path in self.table_counts:
                path = (*path, self.table_counts[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip_blank()
            bare = _BARE_KEY.match(self.text, self.at)
            if bare:
                parts.append(self._move(bare.end()))
            else:
                quoted = _STRING.match(self.text, self.at)
                assert quoted
                parts.append(next(iter(tomllib.loads(self._move(quoted.end()) + " = 0"))))
            self._skip_blank()
            if self.text[self.at] != ".":
                return parts
            self._move(self.at + 1)

    def _pair(self, table: Path) -> None:
        line = self.line
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._move(self.at + 1)  # the equals sign
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening in "[{":
            self._move(self.at + 1)
            self._items(path, "]" if opening == "[" else "}")
            return
        found = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
        assert found
        self._move(found.end())

    def _items(self, path: Path, closing: str) -> None:
        index = 0
        while True:
            self._skip_blank()
            if self.text[self.at] == closing:
                self._move(self.at + 1)
                return
            if self.text[self.at] == ",":
                self._move(self.at + 1)
            elif closing == "}":
                self._pair(path)
            else:
                self.lines[(*path, index)] = self.line
                self._value((*path, index))
                index += 1


def lines_of(text: str) -> dict[Path, int]:
    """The 1-based line of every path in `text`, which `tomllib` accepts."""
    return _Scanner(text).run()


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a document, with readers that check type and range and name the line."""

    value: dict[str, object]
    path: Path
    file: str
    lines: dict[Path, int]

    @classmethod
    def parse(cls, text: str, file: str) -> Self:
        """The whole document.

        Raises:
            ConfigurationInvalid: too long, not TOML, or nested too deeply; with file and line.
        """
        if len(text.encode()) > limits.POLICY_BYTES_MAX:
            raise ConfigurationInvalid(f"longer than {limits.POLICY_BYTES_MAX} bytes", path=file)
        try:
            value = tomllib.loads(text)
        except ValueError as error:  # a `TOMLDecodeError`, or a number with thousands of digits
            found = _ERROR_LINE.search(str(error))
            line = int(found[1]) if found else text.count("\n") + 1
            raise ConfigurationInvalid(
                f"not TOML: {_ERROR_LINE.sub('', str(error)).strip()}", path=file, line=line
            ) from error
        except RecursionError as error:
            raise ConfigurationInvalid("not TOML that a person wrote: nested too deeply", path=file) from error
        lines = lines_of(text)
        deepest = max(lines, key=len, default=())
        if len(deepest) > limits.POLICY_NESTING_LEVELS_MAX:
            raise ConfigurationInvalid("nested too deeply", path=file, line=lines[deepest])
        return cls(value, (), file, lines)

    @property
    def line(self) -> int:
        """Where this table begins."""
        return self.lines.get(self.path, 1)

    def error(self, message: str, *below: str | int) -> ConfigurationInvalid:
        """The error to raise about what stands at `below` (a key, or a key and an index) in this table."""
        path = (*self.path, *below)
        while path and path not in self.lines:
            path = path[:-1]
        return ConfigurationInvalid(message, path=self.file, line=self.lines.get(path, 1))

    def only(self, known: Collection[str], where: str) -> None:
        """Refuse every key that is not in `known`."""
        for key in self.value:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
                raise self.error(f"unknown key `{key}` in {where}; {hint}", key)

    def has(self, key: str) -> bool:
        """Whether `key` is written in this table."""
        return key in self.value

    def text(self, key: str, characters_max: int = limits.NAME_CHARACTERS_MAX) -> str:
        """A required text of 1 to `characters_max` printable characters."""
        value = self._get(key)
        if not isinstance(value, str):
            raise self.error(f"`{key}` must be a text in quotes", key)
        if not 0 < len(value) <= characters_max or not value.isprintable():
            raise self.error(f"`{key}` must have 1 to {characters_max} printable characters", key)
        return value

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One of `choices`; `default` when `key` is absent."""
        if key not in self.value:
            return default
        value = self.value[key]
        if value not in choices:
            raise self.error(f"`{key}` must be one of {', '.join(choices)}", key)
        return cast("str", value)

    def whole(self, key: str, low: int, high: int) -> int:
        """A required whole number, `low` to `high`."""
        value = self._get(key)
        if type(value) is not int or not low <= value <= high:
            raise self.error(f"`{key}` must be a whole number from {low} to {high}", key)
        return value

    def ratio(self, key: str) -> float:
        """A required number, above 0 and at most 1."""
        value = self._get(key)
        if type(value) not in {int, float} or not 0 < cast("float", value) <= 1:
            raise self.error(f"`{key}` must be a number above 0 and at most 1, e.g. 0.9", key)
        return float(cast("float", value))

    def flag(self, key: str) -> bool:
        """A required `true` or `false`."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.error(f"`{key}` must be true or false", key)
        return value

    def texts(self, key: str) -> Iterator[tuple[int, str]]:
        """The elements of an array of texts, each with its index; none when `key` is absent."""
        value = self.value.get(key, [])
        if not isinstance(value, list):
            raise self.error(f'`{key}` must be an array of texts, e.g. ["..."]', key)
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise self.error(f"`{key}` must hold texts in quotes only", key, index)
            yield index, item

    def section(self, key: str, example: str) -> Section:
        """The table at `key`, empty when absent."""
        value = self.value.get(key, {})
        if not isinstance(value, dict):
            raise self.error(f"`{key}` must be a table, e.g. {example}", key)
        return Section(value, (*self.path, key), self.file, self.lines)

    def sections(self, key: str, count_max: int) -> list[Section]:
        """The tables `[[key]]`, in order."""
        value = self.value.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(f"`{key}` must be written as [[{key}]], once for each", key)
        if len(value) > count_max:
            raise self.error(f"more than {count_max} times [[{key}]]", key, count_max)
        return [Section(item, (*self.path, key, index), self.file, self.lines) for index, item in enumerate(value)]

    def _get(self, key: str) -> object:
        if key not in self.value:
            raise self.error(f"`{key}` is missing here")
        return self.value[key]

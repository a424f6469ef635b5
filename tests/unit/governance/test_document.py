from __future__ import annotations

import random
import tomllib

import pytest

from mpcd import limits
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.document import Path, Section, lines_of

EVERYTHING = '''\
# line 1: comment with "quotes" and [[brackets]]
title = "a # no comment"
escaped = "a \\" ] } = b"

[owner]   # a table
"quoted key" = 1
'literal.key' = 2
dotted.name.deep = 3
date = 1979-05-27 07:32:00Z
multi = """
x = "not a key"
[not.a.table]
""\\"" """
literal = \'\'\'
[[no]]
\'\'\'
after = true
[[item]]
array = [
  1,
  # comment ]
  2, [3,
  4],
  { a = "}", b = [
     5 ] },
]
[item.sub]
x = -inf
[[item]]
inline = { a.b = 1, "c d" = { e = 'f' } }
[[item.inner]]
y = 1
[[item.inner]]
y = 2
[a.b.c]
z = 0x1F
'''

EXPECTED: dict[Path, int] = {
    ("title",): 2,
    ("escaped",): 3,
    ("owner",): 5,
    ("owner", "quoted key"): 6,
    ("owner", "literal.key"): 7,
    ("owner", "dotted", "name", "deep"): 8,
    ("owner", "date"): 9,
    ("owner", "multi"): 10,
    ("owner", "literal"): 14,
    ("owner", "after"): 17,
    ("item", 0): 18,
    ("item", 0, "array"): 19,
    ("item", 0, "array", 0): 20,
    ("item", 0, "array", 1): 22,
    ("item", 0, "array", 2): 22,
    ("item", 0, "array", 2, 1): 23,
    ("item", 0, "array", 3, "a"): 24,
    ("item", 0, "array", 3, "b", 0): 25,
    ("item", 0, "sub"): 27,
    ("item", 0, "sub", "x"): 28,
    ("item", 1): 29,
    ("item", 1, "inline", "a", "b"): 30,
    ("item", 1, "inline", "c d", "e"): 30,
    ("item", 1, "inner", 0): 31,
    ("item", 1, "inner", 0, "y"): 32,
    ("item", 1, "inner", 1, "y"): 34,
    ("a", "b", "c"): 35,
    ("a", "b", "c", "z"): 36,
}


def paths(value: object, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*path, index))
    return found


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_of_every_construct(newline: str) -> None:
    found = lines_of(EVERYTHING.replace("\n", newline))
    assert {path: found[path] for path in EXPECTED} == EXPECTED
    assert set(found) == set(paths(tomllib.loads(EVERYTHING)))


STRINGS = (
    '"plain"',
    "'literal'",
    '"""two\nlines"""',
    "'''two\nlines'''",
    '"\\"]}#,"',
    "']}#,='",
    '""""quoted"""""',
    '""',
)
SCALARS = ("1", "true", "-1.5e3", "inf", "1979-05-27", "07:32:00", "0b101", *STRINGS)


def written_value(seeded: random.Random, depth: int) -> str:
    shape = seeded.randrange(4) if depth else 0
    gap = seeded.choice(["", " ", "\n", " # note ]\n"])
    if shape <= 1:
        return seeded.choice(SCALARS)
    if shape == 2:
        items = [written_value(seeded, depth - 1) for _ in range(seeded.randrange(4))]
        return f"[{gap}{(',' + gap).join(items)}{gap}]"
    pairs = [f"{written_key(seeded, index)} = {written_value(seeded, 0)}" for index in range(seeded.randrange(4))]
    return "{ " + ", ".join(pairs) + " }"


def written_key(seeded: random.Random, index: int) -> str:
    name = f"k{index}"
    return seeded.choice([name, f'"{name} ="', f"'{name} ]'", f"{name}.x", f'{name} . "y.z"', f'"\\u006b{index}-"'])


@pytest.mark.parametrize("seed", range(300))
def test_every_path_of_a_random_document_has_its_line(seed: int) -> None:
    seeded = random.Random(seed)
    text = ""
    lines: dict[int, int] = {}
    for table in range(seeded.randrange(1, 6)):
        header = seeded.choice(
            [f"[t{table}]", f"[t{table}.'s u b']", "[[many]]", "[[many.of]]" if "[[many]]" in text else ""]
        )
        text += f"{header}\n" if header else ""
        for index in range(seeded.randrange(4)):
            lines[table * 10 + index] = text.count("\n") + 1
            text += f"marker{table * 10 + index} = {written_value(seeded, 2)} # end\n"
    found = lines_of(text)
    assert set(found) == set(paths(tomllib.loads(text)))
    markers = {path[-1]: line for path, line in found.items() if str(path[-1]).startswith("marker")}
    assert markers == {f"marker{number}": line for number, line in lines.items()}


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb =\n", 2), ("a = 1\n\n[[x]\n", 3), ("a = 1\na = 2\n", 2), ('x = """\n\n', 3), ("x = [1,\n2", 2)],
)
def test_what_is_not_toml_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigurationInvalid, match="not TOML") as caught:
        Section.parse(text, "p.toml")
    assert caught.value.line == line
    assert str(caught.value).startswith(f"p.toml:{line}: ")


def test_a_document_has_limits() -> None:
    with pytest.raises(ConfigurationInvalid, match="longer than"):
        Section.parse("#" * (limits.POLICY_BYTES_MAX + 1), "p.toml")
    with pytest.raises(ConfigurationInvalid, match="too deeply"):
        Section.parse("x = " + "[" * 20 + "]" * 20, "p.toml")
    with pytest.raises(ConfigurationInvalid, match="too deeply"):
        Section.parse("x = " + "[" * 100_000 + "]" * 100_000, "p.toml")


def test_readers_name_the_line() -> None:
    section = Section.parse(
        "\nname = 1\nsize = 'x'\npart = 2.0\nyes = 'true'\nlist = ['a',\n 1]\nsub = []\n[many]\n", "p"
    )
    for read, line in (
        (lambda: section.text("name"), 2),
        (lambda: section.whole("size", 0, 9), 3),
        (lambda: section.whole("part", 0, 9), 4),
        (lambda: section.ratio("part"), 4),
        (lambda: section.flag("yes"), 5),
        (lambda: list(section.texts("list")), 7),
        (lambda: list(section.texts("name")), 2),
        (lambda: section.section("sub", "{ }"), 8),
        (lambda: section.sections("many", 3), 9),
        (lambda: section.choice("yes", ("no",), "no"), 5),
        (lambda: section.text("absent"), 1),
        (lambda: section.only(("name",), "here"), 3),
    ):
        with pytest.raises(ConfigurationInvalid) as caught:
            read()
        assert caught.value.line == line

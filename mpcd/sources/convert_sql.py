"""From the text of a file's field to the stored form, as DuckDB expressions (pure).

Every field is read as text, whatever its format, and converted here: so CSV and Parquet agree, nothing is guessed from
a sample, and a value that does not fit is counted under a reason instead of being cast.  A conversion has two
expressions over the cleaned text: the stored form (BIGINT, NULL for missing) and a reason code, 0 where the value fits.

Numbers are read exactly.  DuckDB's cast of text to DECIMAL rounds half away from zero, which is what `round` allows;
where it is not allowed, the digits are counted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from mpcd.roster import Column
from mpcd.sources.tables import ColumnMap, Reason

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
NUMBER: Final = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?"
ISO_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]00:00:00([.]0+)?)?"
_PERSON_NUMBER: Final = r"^(0|[1-9][0-9]{0,17})([.]0+)?$"
_WIDE: Final = "DECIMAL(38,18)"
TRUE_WORDS: Final = ("true", "t", "yes", "y", "1")
FALSE_WORDS: Final = ("false", "f", "no", "n", "0")


def quoted(name: str) -> str:
    """An identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal, whatever characters it has."""
    return "'" + text.replace("'", "''") + "'"


def code(reason: Reason) -> int:
    """The number of a reason in the staging table; 0 means that the value fits."""
    return REASONS.index(reason) + 1


@dataclass(frozen=True, slots=True)
class Conversion:
    """Expressions over the cleaned text: the stored form, the reason code, and what persons are told apart by."""

    value: str
    reason: str
    identity: str | None = None
    """For a person id that is no number: the text that its code stands for."""


def cleaned(raw: str, column: Column, mapping: ColumnMap) -> str:
    """The text of a field: trimmed, local codes mapped, NULL if empty or a missing code."""
    text = f"NULLIF(TRIM({raw}), '')"
    if mapping.values:
        branches = " ".join(f"WHEN {literal(k)} THEN {literal(v)}" for k, v in mapping.values.items())
        text = f"CASE {text} {branches} ELSE {text} END"
    codes = (*column.missing, *mapping.missing)
    if not codes:
        return text
    missing = f"{text} IN ({', '.join(map(literal, codes))})"
    numbers = [f"TRY_CAST({literal(item)} AS {_WIDE})" for item in codes]
    if column.type in {"integer", "decimal"}:
        missing += f" OR COALESCE(TRY_CAST({text} AS {_WIDE}) IN ({', '.join(numbers)}), FALSE)"
    return f"CASE WHEN {missing} THEN NULL ELSE {text} END"


def conversion(column: Column, mapping: ColumnMap, text: str, levels: str) -> Conversion:
    """The conversion of the cleaned `text` (a column name) to the stored form of `column`.

    Args:
        column: of the roster.
        mapping: rounding and date format.
        text: SQL name of the cleaned text.
        levels: SQL name of an ENUM type with the levels, for a dictionary.
    """
    match column.type:
        case "integer" | "decimal":
            return _number(column, mapping, text)
        case "dictionary":
            value = f"CAST(enum_code(TRY_CAST({text} AS {levels})) AS BIGINT)"
            return Conversion(value, _reason(column, text, (f"{value} IS NULL", "unmapped level")))
        case "date":
            return _date(column, mapping, text)
        case "boolean":
            true, false = (", ".join(map(literal, words)) for words in (TRUE_WORDS, FALSE_WORDS))
            value = f"CASE WHEN lower({text}) IN ({true}) THEN 1::BIGINT WHEN lower({text}) IN ({false}) THEN 0 END"
            return Conversion(value, _reason(column, text, (f"{value} IS NULL", "not a boolean")))
        case "person_id":
            return _person(column, text)


def _reason(column: Column, text: str, *tests: tuple[str, Reason]) -> str:
    """The first test that is true; a missing value is allowed where the column may be NULL."""
    missing = 0 if column.may_be_null else code("missing value")
    branches = " ".join(f"WHEN {test} THEN {code(reason)}" for test, reason in tests)
    return f"CASE WHEN {text} IS NULL THEN {missing} {branches} ELSE 0 END"


def scale_needed(text: str) -> str:
    """How many decimals the number in `text` needs, at least 0; exponents and trailing zeros are understood."""
    mantissa = f"split_part(lower({text}), 'e', 1)"
    exponent = f"COALESCE(TRY_CAST(NULLIF(split_part(lower({text}), 'e', 2), '') AS INTEGER), 0)"
    fraction = f"length(rtrim(split_part({mantissa}, '.', 2), '0'))"
    whole = f"ltrim(split_part({mantissa}, '.', 1), '+-')"
    zeros = f"CASE WHEN {fraction} = 0 THEN length({whole}) - length(rtrim({whole}, '0')) ELSE 0 END"
    with_exponent = f"greatest({fraction} - ({zeros}) - {exponent}, 0)"
    any_digit = f"regexp_matches({mantissa}, '[1-9]')"
    return (
        f"CASE WHEN NOT {any_digit} THEN 0 WHEN contains(lower({text}), 'e') THEN {with_exponent} "
        f"ELSE length(rtrim(split_part({text}, '.', 2), '0')) END"
    )


def _number(column: Column, mapping: ColumnMap, text: str) -> Conversion:
    decimals = column.decimals
    # A stored form has at most 16 digits (BOUND_MAX), so 18 hold all that is within bounds; the product has at most 28.
    exact = f"CAST(TRY_CAST({text} AS DECIMAL(18,{decimals})) AS DECIMAL(28,{decimals}))"
    value = f"CAST({exact} * CAST({10**decimals} AS DECIMAL(10,0)) AS BIGINT)"
    tests: list[tuple[str, Reason]] = [
        (f"NOT regexp_full_match({text}, {literal(NUMBER)})", "not a number"),
        (f"{value} IS NULL OR {value} NOT BETWEEN {column.low} AND {column.high}", "out of bounds"),
    ]
    if not mapping.round:
        tests.append((f"{scale_needed(text)} > {decimals}", "not exactly representable"))
    return Conversion(value, _reason(column, text, *tests))


def _date(column: Column, mapping: ColumnMap, text: str) -> Conversion:
    if mapping.date_format is None:
        day = f"TRY_CAST(substr({text}, 1, 10) AS DATE)"
        invalid = f"NOT regexp_full_match({text}, {literal(ISO_DATE)}) OR {day} IS NULL"
    else:
        day = f"TRY_CAST(try_strptime({text}, {literal(mapping.date_format)}) AS DATE)"
        invalid = f"{day} IS NULL"
    value = f"CAST({day} - DATE '1970-01-01' AS BIGINT)"
    outside = f"{value} NOT BETWEEN {column.low} AND {column.high}"
    return Conversion(value, _reason(column, text, (invalid, "not a date"), (outside, "out of bounds")))


def _person(column: Column, text: str) -> Conversion:
    """A number is its own code; any other id is the upper half of BIGINT, by the first 62 bits of its SHA-256.

    So the code depends on nothing but the id, and all tables of an owner agree.  Two ids of one table under one code
    are found at the import; across tables the chance is n²/2^63 for n ids.
    """
    whole = f"NULLIF(regexp_extract({text}, {literal(_PERSON_NUMBER)}, 1), '')"
    hashed = f"CAST(CAST('0x' || substr(sha256({text}), 1, 16) AS UBIGINT) >> 2 AS BIGINT)"
    value = f"CASE WHEN {whole} IS NULL THEN {2**62}::BIGINT + {hashed} ELSE CAST({whole} AS BIGINT) END"
    identity = f"CASE WHEN {whole} IS NULL THEN {text} END"
    return Conversion(value, _reason(column, text), identity)

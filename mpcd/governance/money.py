"""Money: whole minor units of one currency, read and written as decimals (pure, no float anywhere).

An amount is an `int` of the currency's smallest unit (cents, yen, fils) beside its ISO 4217 code: sums are exact, two
parties that add the same lines get the same total, and no amount below the smallest unit exists.  `Decimal` is only
the form in which people write and read amounts.  Nothing converts between currencies.

Where an amount is divided, between owners or over the days of a month, the parts are rounded by largest remainder:
every part gets its exact share rounded down, and the units that are then left go one each to the parts that lost most,
ties to the lowest party id.  The parts therefore add up to the whole, always, and every party computes the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, TypeVar

from mpcd import limits
from mpcd.ids import PartyId

_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV "
    "MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
    "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: Final[Mapping[str, int]] = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
"""ISO 4217: the active currencies and funds that have a minor unit, each with its decimal places."""

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")

Part = TypeVar("Part", PartyId, int)


class MoneyError(ValueError):
    """No amount of money: an unknown currency, too many decimal places, or beyond the limit."""


def exponent(currency: str) -> int:
    """Decimal places of `currency`; raises `MoneyError` for a code that ISO 4217 does not list as in use."""
    if currency not in EXPONENTS:
        raise MoneyError(f"`{currency}` is no ISO 4217 currency in use; write its three capital letters, e.g. EUR")
    return EXPONENTS[currency]


def parse(written: str, currency: str) -> int:
    """The minor units of an amount that a person wrote, `12.50` or `12`; exact, and never negative.

    Raises:
        MoneyError: not a plain decimal number, finer than the currency's smallest unit, or beyond
            `limits.AMOUNT_MINOR_UNITS_MAX`.
    """
    found = _AMOUNT.fullmatch(written)
    if found is None:
        raise MoneyError(f"`{written[:40]}` is no amount; write digits and a point, e.g. 12.50")
    return to_minor(Decimal(written), currency)


def to_minor(amount: Decimal, currency: str) -> int:
    """The minor units of `amount`; raises `MoneyError` rather than round."""
    places = exponent(currency)
    if not amount.is_finite():
        raise MoneyError("an amount is a finite number")
    if abs(amount.adjusted()) > _DIGITS_MAX:
        raise MoneyError(f"an amount has at most {limits.AMOUNT_MINOR_UNITS_MAX} minor units")
    numerator, denominator = amount.as_integer_ratio()
    minor, rest = divmod(numerator * 10**places, denominator)
    if rest:
        raise MoneyError(f"`{amount}` is finer than {currency} goes: it has {places} decimal places")
    return checked(minor)


_DIGITS_MAX: Final = 40
"""Beyond it a power of ten is not even computed."""


def checked(minor: int) -> int:
    """`minor` itself; raises `MoneyError` if it is beyond what an amount may be."""
    if abs(minor) > limits.AMOUNT_MINOR_UNITS_MAX:
        raise MoneyError(f"an amount has at most {limits.AMOUNT_MINOR_UNITS_MAX} minor units")
    return minor


def to_decimal(minor: int, currency: str) -> Decimal:
    """The amount as a decimal with exactly the currency's places, e.g. `Decimal("12.50")`."""
    sign = 1 if minor < 0 else 0
    digits = tuple(int(digit) for digit in str(abs(minor)))
    return Decimal((sign, digits, -exponent(currency)))


def number(minor: int, currency: str) -> str:
    """The amount in digits alone, `12.50`, as statements and CSV files hold it."""
    return f"{to_decimal(minor, currency):f}"


def amount(minor: int, currency: str) -> str:
    """The amount with its currency, `12.50 EUR`, for people."""
    return f"{number(minor, currency)} {currency}"


def split(total: int, weights: Mapping[Part, int]) -> dict[Part, int]:
    """Divide `total` minor units by `weights`, by largest remainder, ties to the lowest id.

    A negative total, a credit, is divided as its opposite is, so that it takes back exactly what was given.

    Args:
        total: minor units.
        weights: for each party a whole number that is not negative, not all zero.

    Returns:
        For each party its minor units; they add up to `total`.

    Raises:
        MoneyError: no weights, a negative one, or none above zero.
    """
    whole = sum(weights.values())
    if whole <= 0 or any(weight < 0 for weight in weights.values()):
        raise MoneyError("a split needs weights that are not negative and not all zero")
    size = abs(total)
    parts = {part: size * weight // whole for part, weight in weights.items()}
    left = size - sum(parts.values())
    by_loss = sorted(weights, key=lambda part: (-(size * weights[part] % whole), part))
    for part in by_loss[:left]:
        parts[part] += 1
    return parts if total >= 0 else {part: -minor for part, minor in parts.items()}


def pro_rata(total: int, taken: int, whole: int) -> int:
    """The part of `total` for `taken` of `whole` days: largest remainder between taken and not, a tie to the payer."""
    if not 0 <= taken <= whole or whole == 0:
        raise MoneyError("a part is between nothing and the whole")
    return split(total, {0: whole - taken, 1: taken})[1]

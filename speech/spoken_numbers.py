"""Words for numbers, quantities, amounts of money and dates, in each language."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_decimal, get_currency_name, get_decimal_symbol
from babel.units import format_unit
from num2words import num2words

from speech.spoken_signs import NO_SIGNS, SIGNS

# Whole numbers from this one on are put into words; models read smaller ones well by themselves.
MIN_WORDED = 10_000
# From here on digits are easier to understand, and not every language has words.
MAX_WORDED = 10**12
# CLDR's patterns for units round numbers with more decimals.
_MAX_DECIMALS = 3

# Languages whose large numbers num2words writes well, by its names for them.
_NUM2WORDS = {
    code: code for code in "en ar es fr de it tr id he nl pl sv ru uk cs fi hu no ro".split()
} | {"pt": "pt_BR"}

_INDIAN_GROUPS = frozenset({"hi", "ur"})

UNITS = {
    "%": "concentr-percent",
    "km/h": "speed-kilometer-per-hour",
    "mph": "speed-mile-per-hour",
    "m/s": "speed-meter-per-second",
    "°C": "temperature-celsius",
    "°F": "temperature-fahrenheit",
    "kg": "mass-kilogram",
    "g": "mass-gram",
    "mg": "mass-milligram",
    "lb": "mass-pound",
    "km²": "area-square-kilometer",
    "m²": "area-square-meter",
    "m³": "volume-cubic-meter",
    "km": "length-kilometer",
    "m": "length-meter",
    "cm": "length-centimeter",
    "mm": "length-millimeter",
    "l": "volume-liter",
    "L": "volume-liter",
    "ml": "volume-milliliter",
    "kB": "digital-kilobyte",
    "KB": "digital-kilobyte",
    "MB": "digital-megabyte",
    "GB": "digital-gigabyte",
    "TB": "digital-terabyte",
    "Mbit": "digital-megabit",
    "Gbit": "digital-gigabit",
    "kW": "power-kilowatt",
    "kWh": "energy-kilowatt-hour",
    "V": "electric-volt",
    "W": "power-watt",
    "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz",
    "ms": "duration-millisecond",
    "s": "duration-second",
    "min": "duration-minute",
    "h": "duration-hour",
}
CURRENCY_SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₺": "TRY",
    "₪": "ILS",
    "R$": "BRL",
    "Rp": "IDR",
}
CURRENCY_CODES = frozenset(
    """EUR USD GBP CHF SAR AED EGP QAR KWD BHD OMR JOD INR PKR IDR TRY ILS BRL MXN ARS JPY CNY CAD
    AUD SEK NOK DKK PLN""".split()
)
# Dollars and pesos of many countries.
DOLLAR = "$"
# What may stand beside that sign. Alone, some of these are also other words, such as COP 30.
DOLLAR_CODES = CURRENCY_CODES | {"CLP", "COP", "HKD", "NZD", "SGD", "UYU"}


@cache
def has_numbers(language: str) -> bool:
    """Whether the names of units, currencies and months are known in a language (ISO 639-1)."""
    try:
        Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        return False
    return True


def parse_number(token: str, language: str) -> Decimal | None:
    """Parse ``1.234,5`` or ``1,234.5``; ``None`` if it is neither, or has two readings."""
    marks = [character for character in token if not character.isdigit()]
    parts = re.split(r"\D", token)
    if not marks:
        return Decimal(token)
    if len(marks) == 1:
        return _parse_with_one_mark(token, marks[0], parts, language)
    if len(set(marks)) == 1:
        return None if marks[0] == "." and len(parts) > 3 else _join_groups(parts, language)
    if len(set(marks)) > 2 or marks[-1] in marks[:-1] or marks[-1] not in ".,":
        return None
    whole = _join_groups(parts[:-1], language)
    return None if whole is None else Decimal(f"{whole}.{parts[-1]}")


def _parse_with_one_mark(token: str, mark: str, parts: list[str], language: str) -> Decimal | None:
    """The mark is the language's decimal mark, or separates thousands; else it is unclear."""
    has_groups = len(parts[1]) == 3 and len(parts[0]) <= 3 and parts[0] != "0"
    if mark != get_decimal_symbol(language):
        return _join_groups(parts, language) if has_groups else None
    # 1.000 is one in English, and a thousand for many who write it.
    return None if has_groups else Decimal(token.replace(mark, "."))


def _join_groups(parts: list[str], language: str) -> Decimal | None:
    """The number that groups of three digits form; in India also 1,23,456."""
    sizes = (2, 3) if language in _INDIAN_GROUPS else (3,)
    grouped = all(len(part) in sizes for part in parts[1:-1]) and len(parts[-1]) == 3
    if len(parts) > 1 and not (grouped and len(parts[0]) <= 3):
        return None
    return Decimal("".join(parts))


def say_number(value: Decimal, language: str) -> str:
    """Words for a large whole number, if the language has them, else digits without groups."""
    is_whole = value == value.to_integral_value()
    if is_whole and MIN_WORDED <= value < MAX_WORDED and language in _NUM2WORDS:
        # In Arabic, "and" is joined to the next word.
        words = str(num2words(int(value), lang=_NUM2WORDS[language]))
        return words.replace(" و ", " و") if language == "ar" else words
    return f"{value:f}".replace(".", get_decimal_symbol(language))


def say_quantity(value: Decimal, unit: str, language: str) -> str | None:
    """``5 kilometers per hour``; ``None`` if the number would have to be rounded."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > _MAX_DECIMALS:
        return None
    spoken = format_unit(value, UNITS[unit], length="long", locale=language)
    spoken = spoken.replace(format_decimal(value, locale=language), say_number(value, language))
    if any(character.isalpha() for character in spoken):
        return " ".join(spoken.split())
    name = SIGNS.get(language, NO_SIGNS).words.get("percent")
    return f"{say_number(value, language)} {name}" if name else None


def say_money(value: Decimal, currency: str, language: str) -> str | None:
    """``12 euros 50``: cents follow the name of the currency, as in most languages."""
    whole, cents = value.to_integral_value(rounding="ROUND_DOWN"), f"{value:f}".partition(".")[2]
    is_whole = set(cents) <= {"0"}
    cents_follow = whole != 0 and len(cents) == 2 and not is_whole
    # The name takes its form from the number before it: 1 dollar 50.
    number = whole if is_whole or cents_follow else value
    name = _name_currency(number, currency, language)
    if not name:
        return None
    words = f"{say_number(number, language)} {name}"
    return f"{words} {cents}" if cents_follow else words


def _name_currency(value: Decimal, currency: str, language: str) -> str | None:
    if currency == DOLLAR:
        words = SIGNS.get(language, NO_SIGNS).words
        return words.get("dollar" if value == 1 else "dollars")
    code = CURRENCY_SIGNS.get(currency, currency)
    return get_currency_name(code, count=value, locale=language)


def say_date(year: int, month: int, day: int, language: str) -> str | None:
    """``March 1, 2024``; ``None`` for a day that does not exist."""
    try:
        return format_date(date(year, month, day), "long", locale=language)
    except ValueError:
        return None


def say_ordinal(number: int, language: str) -> str:
    return str(num2words(number, lang=_NUM2WORDS[language], to="ordinal"))

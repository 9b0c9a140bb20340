"""The words of a sentence as a person would read them aloud, for models that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import regex

from speech import spoken_codes as codes
from speech import spoken_numbers as numbers
from speech.spoken_signs import ABBREVIATIONS, NO_SIGNS, SIGNS, Signs, compact

# Every repetition below has a limit, so that reading takes linear time.
_NUMBER = r"\d{1,15}(?:[.,'’\u00a0\u202f]\d{1,15}){0,5}"
# Amounts may have spaces between thousands: 1 234,50 €.
_AMOUNT = rf"(?:\d{{1,3}}(?: \d{{3}}){{1,4}}(?:[.,]\d{{1,15}})?(?!\d)|{_NUMBER})"
# Letters of other scripts than Latin may touch a number: Arabic and Hebrew write "and" like that.
_NUMBER_START = r"(?<![\p{Latin}\p{N}_.,])"
_NUMBER_END = r"(?!\w|[.,]\d)"
_UNIT = "|".join(regex.escape(unit) for unit in sorted(numbers.UNITS, key=len, reverse=True))
_CURRENCY = "|".join(
    map(
        regex.escape,
        sorted({*numbers.CURRENCY_SIGNS, *numbers.CURRENCY_CODES, numbers.DOLLAR}, key=len)[::-1],
    )
)
# "$5 million" is not "5 dollars million".
_NO_MULTIPLE = (
    r"(?!\s?(?i:[kmb]\b|bn\b|mn\b|mio|mrd|mil|bil|tri|thou|taus|tsd|ribu|juta|bin\b|lakh|crore"
    r"|مليون|مليار|ألف|लाख|करोड़|हज़ार|लाख|ہزار|لاکھ|کروڑ|מיליון|מיליארד|אלף))"
)
_TOP_LEVEL = (
    "com|org|net|info|io|app|dev|ai|eu|de|fr|es|it|pt|br|tr|id|in|pk|sa|ae|eg|il|uk|us|co|mx"
)
_HOUR, _MINUTE = r"(?:[01]?\d|2[0-3])", r"[0-5]\d"

# Tried in this order at each position; none has a group in it.
_PATTERNS = {
    "web_address": r"\b(?:https?://|www\.)\S{1,500}(?<![.,;:!?)])"
    rf"|(?<![\w@.-])(?:[a-z0-9-]{{1,63}}\.){{1,3}}(?:{_TOP_LEVEL})(?![\w@-]|\.\w)",
    "email": r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[a-zA-Z]{2,20}(?!\w)",
    "iban": r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)",
    "date": r"(?<![\w-])\d{4}-\d{2}-\d{2}(?:T(?=\d\d:)|(?![\w-]))"
    r"|(?<![\w.])\d{1,2}\.\d{1,2}\.\d{4}(?!\w|\.\d)|(?<![\w/])\d{1,2}/\d{1,2}/\d{4}(?![\w/])",
    "phone_number": r"(?<![\w+])(?:\+|00)\d(?:[ ()./‑-]{0,2}\d){6,14}(?!\w)"
    r"|(?<![\w.,-])(?=(?:[ ()/-]{0,2}\d){7})\(?0\d{1,5}\)?(?:[ /-]\d{2,8}){1,5}(?![\w-])"
    r"|(?<![\w-])(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}(?![\w-])",
    "money": rf"(?<!\w)(?:{_CURRENCY})\s?{_AMOUNT}{_NUMBER_END}{_NO_MULTIPLE}"
    rf"|{_NUMBER_START}{_AMOUNT}\s?(?:{_CURRENCY})(?!\w)",
    "quantity": rf"{_NUMBER_START}{_AMOUNT}\s?(?:{_UNIT})(?![\w/²³])"
    rf"|(?<![\w%])%{_NUMBER}{_NUMBER_END}",
    "time": rf"(?<![\w:.,]|\d[T]){_HOUR}:{_MINUTE}(?![\w:])(?:\s?Uhr\b)?"
    rf"|(?<![\w:.,]){_HOUR}\s?h\s?{_MINUTE}(?!\w)",
    "code": r"(?<![\w@/.-])(?=[A-Z0-9/_.-]{0,40}[A-Z])(?=(?:[A-Z/_.-]{0,20}\d){3})"
    r"[A-Z0-9]{1,20}(?:[-/_.][A-Z0-9]{1,20}){0,6}(?![\w-])"
    r"|(?<![\w.,-])(?:0\d{2,30}|(?!\d{1,3}0{4,30}(?!\d))\d{7,30})" + _NUMBER_END,
    "ordinal": r"(?<![\w.,])\d{1,4}(?:st|nd|rd|th|er|e|ème|\.?º)(?!\w)",
    "power": r"(?<=[\w)])\^(?=-?\d)",
    "at_most": r"(?:<=|≤)(?=\s?\d)",
    "at_least": r"(?:>=|≥)(?=\s?\d)",
    "less": r"<(?=\s?\d)",
    "greater": r">(?=\s?\d)",
    "times": r"(?<=\d\s?)×(?=\s?\d)",
    "to": r"(?<=\d\s?%?)\s?–\s?(?=\d)"
    r"|(?<=(?<![\w.,-])\d{1,4})-(?=[1-9]\d{0,3}(?![\w-]|[.,]\d))",
    "minus": r"(?<![\w).,])[-−](?=\d)|(?<=\d\s)[-−](?=\s\d)",
    "plus": r"(?<![\w+])\+(?=\s?\d)|(?<=\d)\+(?=\d)",
    "number": rf"{_NUMBER_START}{_NUMBER}{_NUMBER_END}",
    "abbreviation": rf"(?<![\w.])(?i:{ABBREVIATIONS})(?!\w)",
}
_READABLE = regex.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()))
_SIGN_NAMES = frozenset(
    {"power", "at_most", "at_least", "less", "greater", "times", "to", "minus", "plus"}
)
_ORDINAL_ENDINGS = {
    "en": ("st", "nd", "rd", "th"),
    "fr": ("er", "e", "ème"),
    "pt": ("º",),
    "it": ("º",),
}
# Languages in which 1/3/2024 is the first of March wherever they are spoken.
_DAY_FIRST = frozenset("fr es pt it tr id ar he hi ur de nl pl ru uk".split())


def to_spoken_text(text: str, language: str | None, *, with_numbers: bool) -> str:
    """``text`` as it is to be sent to a model, in ``language`` (ISO 639-1).

    Codes, phone numbers and addresses are spelt. ``with_numbers`` also words numbers, units,
    currencies, dates, signs and abbreviations, where the language has data for it; all else stays.
    """
    reader = _Reader(language or "", SIGNS.get(language or "", NO_SIGNS), with_numbers)
    said = _READABLE.sub(reader.read, text)
    return said if said == text else " ".join(said.split())


@dataclass(frozen=True)
class _Reader:
    """Words one match at a time; what it cannot word stays as it is written."""

    language: str
    signs: Signs
    with_numbers: bool

    def read(self, match: regex.Match[str]) -> str:
        name, written = str(match.lastgroup), match[0]
        if name in _SPELLERS:
            return _SPELLERS[name](written, self.signs)
        if not self.with_numbers or not numbers.has_numbers(self.language):
            return written
        if name in _SIGN_NAMES:
            return self._sign(name, written)
        return _WORDERS[name](self, written) or written

    def _sign(self, name: str, written: str) -> str:
        word = self.signs.words.get(name)
        return f" {word} " if word else written

    def date(self, written: str) -> str | None:
        first, second, third = map(int, regex.findall(r"\d+", written))
        if "-" in written:
            said = numbers.say_date(first, second, third, self.language)
            return f"{said}, " if said and written.endswith("T") else said
        if "/" in written and self.language not in _DAY_FIRST:
            return None
        return numbers.say_date(third, second, first, self.language)

    def money(self, written: str) -> str | None:
        amount, currency = _split_number(written)
        value = numbers.parse_number(amount, self.language)
        return None if value is None else numbers.say_money(value, currency, self.language)

    def quantity(self, written: str) -> str | None:
        amount, unit = _split_number(written)
        value = numbers.parse_number(amount, self.language)
        return None if value is None else numbers.say_quantity(value, unit, self.language)

    def time(self, written: str) -> str | None:
        hour, minute = map(int, regex.findall(r"\d+", written))
        pattern = self.signs.words.get("time" if minute else "full_hour")
        return pattern.format(hour=hour, minute=minute) if pattern else None

    def ordinal(self, written: str) -> str | None:
        if not written.endswith(_ORDINAL_ENDINGS.get(self.language, ("none",))):
            return None
        return numbers.say_ordinal(int("".join(regex.findall(r"\d", written))), self.language)

    def number(self, written: str) -> str | None:
        value = numbers.parse_number(written, self.language)
        return None if value is None else numbers.say_number(value, self.language)

    def abbreviation(self, written: str) -> str | None:
        return self.signs.abbreviations.get(compact(written))


def _split_number(written: str) -> tuple[str, str]:
    """The digits of an amount, and the sign before or behind them."""
    amount: str = regex.findall(_AMOUNT, written)[0]
    return amount, written.replace(amount, "").strip()


_SPELLERS: dict[str, Callable[[str, Signs], str]] = {
    "web_address": codes.read_web_address,
    "email": codes.read_email,
    "phone_number": codes.spell_phone_number,
    "iban": lambda written, _: codes.spell_iban(written),
    "code": lambda written, _: codes.spell_code(written),
}
_WORDERS: dict[str, Callable[[_Reader, str], str | None]] = {
    "date": _Reader.date,
    "money": _Reader.money,
    "quantity": _Reader.quantity,
    "time": _Reader.time,
    "ordinal": _Reader.ordinal,
    "number": _Reader.number,
    "abbreviation": _Reader.abbreviation,
}

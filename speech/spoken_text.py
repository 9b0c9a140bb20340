"""Text normalisation for speech: words in place of codes, numbers, units, dates and signs."""

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
# Only Latin letters must not touch a number: Arabic and Hebrew attach "and" to the next word.
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

# Tried in this order at each position. The patterns must not contain groups that capture.
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
_TOKENS = regex.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()))
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
    """``text`` in the form that a model pronounces well, in ``language`` (ISO 639-1).

    Codes, phone numbers and addresses are spelt. With ``with_numbers``, numbers, units, currencies,
    dates, signs and abbreviations are put into words too, as far as the language has data for them.
    """
    reader = _Verbalizer(language or "", SIGNS.get(language or "", NO_SIGNS), with_numbers)
    spoken = _TOKENS.sub(reader.read, text)
    return spoken if spoken == text else " ".join(spoken.split())


@dataclass(frozen=True)
class _Verbalizer:
    """Puts one match after the other into words; a match without words stays as it is."""

    language: str
    signs: Signs
    with_numbers: bool

    def read(self, match: regex.Match[str]) -> str:
        name, token = str(match.lastgroup), match[0]
        if name in _SPELLERS:
            return _SPELLERS[name](token, self.signs)
        if not self.with_numbers or not numbers.has_numbers(self.language):
            return token
        if name in _SIGN_NAMES:
            return self._sign(name, token)
        return _VERBALIZERS[name](self, token) or token

    def _sign(self, name: str, token: str) -> str:
        word = self.signs.words.get(name)
        return f" {word} " if word else token

    def date(self, token: str) -> str | None:
        first, second, third = map(int, regex.findall(r"\d+", token))
        if "-" in token:
            spoken = numbers.say_date(first, second, third, self.language)
            return f"{spoken}, " if spoken and token.endswith("T") else spoken
        if "/" in token and self.language not in _DAY_FIRST:
            return None
        return numbers.say_date(third, second, first, self.language)

    def money(self, token: str) -> str | None:
        amount, currency = _split_number(token)
        value = numbers.parse_number(amount, self.language)
        return None if value is None else numbers.say_money(value, currency, self.language)

    def quantity(self, token: str) -> str | None:
        amount, unit = _split_number(token)
        value = numbers.parse_number(amount, self.language)
        return None if value is None else numbers.say_quantity(value, unit, self.language)

    def time(self, token: str) -> str | None:
        hour, minute = map(int, regex.findall(r"\d+", token))
        pattern = self.signs.words.get("time" if minute else "full_hour")
        return pattern.format(hour=hour, minute=minute) if pattern else None

    def ordinal(self, token: str) -> str | None:
        if not token.endswith(_ORDINAL_ENDINGS.get(self.language, ("none",))):
            return None
        return numbers.say_ordinal(int("".join(regex.findall(r"\d", token))), self.language)

    def number(self, token: str) -> str | None:
        value = numbers.parse_number(token, self.language)
        return None if value is None else numbers.say_number(value, self.language)

    def abbreviation(self, token: str) -> str | None:
        return self.signs.abbreviations.get(compact(token))


def _split_number(token: str) -> tuple[str, str]:
    """The digits of an amount, and the unit or currency before or after them."""
    amount: str = regex.findall(_AMOUNT, token)[0]
    return amount, token.replace(amount, "").strip()


_SPELLERS: dict[str, Callable[[str, Signs], str]] = {
    "web_address": codes.read_web_address,
    "email": codes.read_email,
    "phone_number": codes.spell_phone_number,
    "iban": lambda token, _: codes.spell_iban(token),
    "code": lambda token, _: codes.spell_code(token),
}
_VERBALIZERS: dict[str, Callable[[_Verbalizer, str], str | None]] = {
    "date": _Verbalizer.date,
    "money": _Verbalizer.money,
    "quantity": _Verbalizer.quantity,
    "time": _Verbalizer.time,
    "ordinal": _Verbalizer.ordinal,
    "number": _Verbalizer.number,
    "abbreviation": _Verbalizer.abbreviation,
}

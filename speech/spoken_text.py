"""Text normalisation for speech: words in place of codes, numbers, units, dates and signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import regex

from speech import spoken_codes as codes
from speech import spoken_numbers as numbers
from speech.spoken_signs import ABBREVIATIONS, LIST_ENDS, NO_SIGNS, SIGNS, Signs, compact

# Every repetition below has a limit, so that reading takes linear time.
# A leading zero makes it a code or a part of a date, and never an amount.
_NUMBER = r"(?!0\d)\d{1,15}(?:[.,'’]\d{1,15}){0,5}"
# Amounts may have spaces between thousands: 1 234,50 €. After a name they may be two numbers:
# iPhone 15 128 GB.
_BLANK = r"[ \u00a0\u202f]"
_SPACED = (
    rf"(?<!\p{{Lu}}\p{{L}}{{0,20}}{_BLANK}|\d{_BLANK})[1-9]\d{{0,2}}(?:{_BLANK}\d{{3}}){{1,4}}"
    r"(?:[.,]\d{1,15})?(?!\d)"
)
_AMOUNT = rf"(?:{_SPACED}|{_NUMBER})"
# Only Latin letters must not touch a number: Arabic and Hebrew attach "and" to the next word.
_NUMBER_START = r"(?<![\p{Latin}\p{N}_.,٬٫]|[\p{Latin}\p{N}%°]['’/‑-]|\p{N}:)"
# A number inside 747-800, 05/24 or 10:00:00 is a part of something else.
_NUMBER_END = r"(?!\w|[.,:'’٬٫–]\p{N}|[/‑-]\w)"
# A single letter may also be a size, a generation or a million: 38 L, 6s, $5m.
_UNIT = "|".join(
    regex.escape(unit) for unit in sorted(numbers.UNITS, key=len, reverse=True) if len(unit) > 1
)
_LETTER_UNIT = "|".join(unit for unit in numbers.UNITS if len(unit) == 1 and unit != "%")
_UNIT_END = r"(?![\w/²³]|[‑-]\w)"
_CURRENCY = "|".join(
    map(
        regex.escape,
        sorted({*numbers.CURRENCY_SIGNS, *numbers.CURRENCY_CODES, numbers.DOLLAR}, key=len)[::-1],
    )
)
_DOLLAR_CODE = "|".join(sorted(numbers.DOLLAR_CODES))
# "$5 million" is not "5 dollars million".
_MULTIPLE = (
    r"\s?(?i:[kmb]\b|bn\b|mn\b|mio|mrd|mil|bil|tri|thou|taus|tsd|ribu|juta|bin\b|lakh|crore"
    r"|مليون|مليار|ألف|लाख|करोड़|हज़ार|लाख|ہزار|لاکھ|کروڑ|מיליון|מיליארד|אלף)"
)
_TOP_LEVEL = (
    "com|org|net|info|io|app|dev|ai|eu|de|fr|es|it|pt|br|tr|id|in|pk|sa|ae|eg|il|uk|us|co|mx"
)
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d"
# 3:16 may also be a score, a ratio or a verse.
_BEFORE_TIME = r"(?i:um|gegen|a las|a la|às|alle|dalle|saat|pukul|à)"
_PLAIN = r"(?:0|[1-9]\d{0,3})(?:[.,]\d{1,2})?"
# Opening hours behind a phone number: 0800 123456 24 hours.
_HOURS = (
    r"(?i:h|hrs?|hours?|am|pm|std|stunden|uhr|heures?|horas?|ore|saat|jam|days?|tage"
    r"|ساعة|ساعات|שעות|घंटे|گھنٹے)"
)
_PHONE_GROUP = rf"{_BLANK}\d{{2,12}}(?!\d|[-/:.,]\d|\s?(?:{_HOURS}|{_CURRENCY})\b)"
_AT_LEAST_7_DIGITS = r"(?=\+?(?:[ \u00a0()./‑-]{0,2}\d){7})"

# Tried in this order at each position. The patterns must not contain groups that capture. What has
# no function to put it into words stays as it is written.
_PATTERNS = {
    "web_address": r"\b(?:https?://|www\.)\S{1,500}(?<![.,;:!?)])"
    rf"|(?<![\w@.-])(?:[a-z0-9-]{{1,63}}\.){{1,3}}(?:{_TOP_LEVEL})(?![\w@-]|\.\w)",
    "email": r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[a-zA-Z]{2,20}(?!\w)",
    "iban": r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)",
    "date": r"(?<![\w-])\d{4}-\d{2}-\d{2}(?:T(?=\d\d:)|(?![\w-]))"
    r"|(?<![\w.])\d{1,2}\.\d{1,2}\.\d{4}(?!\w|\.\d)|(?<![\w/])\d{1,2}/\d{1,2}/\d{4}(?![\w/])",
    "spaced_date": rf"(?<!\w)\d\d{_BLANK}\d\d{_BLANK}(?:19|20)\d\d(?!\d|{_BLANK}\d)",
    "phone_number": rf"(?<![\w+]){_AT_LEAST_7_DIGITS}(?:\+|00)[1-9]\d{{0,14}}"
    rf"(?:"
    rf"(?:{_BLANK}(?:\(\d{{1,5}}\)\d{{0,5}}|\d(?!\d)))?(?:{_PHONE_GROUP}){{1,6}}"
    r"(?<=\d(?:[ \u00a0()]{0,2}\d){6})"
    r"|[ ./‑-]?\(?\d{1,5}\)?[ ./‑-]?\d{2,12}(?:[.‑-]\d{1,8}){0,4}"
    r"|)(?!\w|[-/:.,]\d)"
    rf"|{_NUMBER_START}{_AT_LEAST_7_DIGITS}(?:\(0\d{{1,5}}\)|0\d{{1,5}})(?:{_PHONE_GROUP}){{1,5}}"
    rf"|{_NUMBER_START}{_AT_LEAST_7_DIGITS}(?:\(0\d{{1,5}}\)|0\d{{2,5}})[ /‑-]?\d{{2,8}}"
    r"(?:-\d{2,8}){0,3}(?<=[ /‑-]\d{2,30})(?!\w|[-/:.,]\d)"
    rf"|{_NUMBER_START}(?:1-)?(?:\(\d{{3}}\) ?|\d{{3}}-)\d{{3}}-\d{{4}}(?!\w|[-/:.,]\d)"
    rf"|{_NUMBER_START}\(\d\d\) ?\d{{4,5}}-\d{{4}}(?!\w|[-/:.,]\d)",
    "multiple": rf"(?<!\w)(?:{_CURRENCY})\s?\d{{1,15}}(?:[.,]\d{{1,15}}){{0,4}}{_MULTIPLE}",
    "price_range": rf"(?<!\w)(?:{_CURRENCY})\s?{_AMOUNT}[–-]"
    rf"(?:{_CURRENCY})\s?{_AMOUNT}{_NUMBER_END}(?!{_MULTIPLE})"
    rf"|{_NUMBER_START}{_AMOUNT}\s?(?:{_CURRENCY})[–-]{_AMOUNT}\s?(?:{_CURRENCY})(?!\w|[/‑-]\w)",
    "coded_dollars": rf"(?<!\w)\$\s?{_AMOUNT}\s?(?:{_DOLLAR_CODE})(?!\w|[/‑-]\w)"
    rf"|(?<!\w)(?:{_DOLLAR_CODE})\s?\$\s?{_AMOUNT}{_NUMBER_END}(?!{_MULTIPLE})",
    "money": rf"(?<!\w)(?:{_CURRENCY})\s?{_AMOUNT}{_NUMBER_END}(?!{_MULTIPLE})"
    rf"|{_NUMBER_START}{_AMOUNT}\s?(?:{_CURRENCY})(?!\w|[/‑-]\w)",
    "range": rf"{_NUMBER_START}{_CLOCK}[–-]{_CLOCK}(?:\s?Uhr\b|{_NUMBER_END})"
    rf"|{_NUMBER_START}{_PLAIN}\s?%[–-]{_PLAIN}\s?%(?!\w)"
    rf"|{_NUMBER_START}{_PLAIN}[–-]{_PLAIN}"
    rf"(?:\s?(?:{_UNIT}|%){_UNIT_END}|\s?(?:Uhr|{_CURRENCY})(?!\w))"
    rf"|{_NUMBER_START}{_PLAIN}–{_PLAIN}{_NUMBER_END}",
    "quantity": rf"{_NUMBER_START}{_AMOUNT}\s?(?:{_UNIT}|[°º]\s?[CF]){_UNIT_END}"
    rf"|{_NUMBER_START}{_AMOUNT}\s?%(?!\w|/\w)"
    rf"|{_NUMBER_START}(?!0\d)\d{{1,15}}[.,]\d{{1,15}}{_BLANK}(?:{_LETTER_UNIT}){_UNIT_END}"
    rf"|(?<![\w%])%{_NUMBER}{_NUMBER_END}",
    # Only the hour: no language says "3 hours p.m.".
    "half_day_hour": rf"(?<=\b{_BEFORE_TIME}\s)(?:[01]?\d|2[0-3]):00(?=\s(?i:[ap]\.?\s?m)\b)",
    "time": rf"{_NUMBER_START}{_CLOCK}\s?Uhr\b"
    rf"|(?<=\b{_BEFORE_TIME}\s){_CLOCK}{_NUMBER_END}(?!\s?(?i:h|std|min))"
    rf"|{_NUMBER_START}(?:[01]\d|2[0-3])\s?h\s?[0-5]\d{_NUMBER_END}",
    "code": r"(?<![\w@/.-])(?!UTC|GMT|\d{1,30}[A-Z]{1,2}(?![A-Z0-9]))"
    r"(?=[A-Z0-9/_-]{0,40}[A-Z])(?=(?:[A-Z/_-]{0,20}\d){3})"
    r"[A-Z0-9]{1,20}(?:[-/_][A-Z0-9]{1,20}){0,6}(?![\w-]|[/.,:]\w)"
    rf"|{_NUMBER_START}(?<!-)(?:0\d{{2,30}}|(?!\d{{1,3}}0{{4,30}}(?!\d))\d{{7,30}}){_NUMBER_END}",
    "ordinal": rf"{_NUMBER_START}[1-9]\d{{0,3}}(?:st|nd|rd|th|er|e|ème|\.?º(?!\s?[CF]\b))(?!\w)",
    "power": r"(?<=[\w)])\^(?=-?\d)",
    "at_most": r"(?:<=|≤)(?=\s?\d)",
    "at_least": r"(?:>=|≥)(?=\s?\d)",
    # Not <3, a heart.
    "less": rf"(?<![-=<>])<(?=\s?\d)(?!3(?!\d|[.,]\d|\s?(?:{_UNIT}|%)))",
    # Not an arrow, and not the way through a menu: Settings > 2.
    "greater": r"(?<![-=<>]|\p{Lu}\p{L}{0,20}\s?|\d\s?)>(?=\s?\d)",
    "times": r"(?<=\d\s?)×(?=\s?\d)",
    # In 9:00 - 17:00 and 9:00 -17:00 it is a dash.
    "minus": r"(?<![^\s(\[{^])(?<!\d\s?%?\s)[-−](?=[$€£₹₺₪]?(?:[1-9]|0(?!\d)))",
    "plus": r"(?<![\w+])\+(?=\s?\d)|(?<=\d)\+(?=\d)",
    # A pair of coordinates: 48.137, 11.575.
    "coordinates": rf"{_NUMBER_START}\d{{1,3}}\.\d{{3,15}},{_BLANK}?[-−]?\d{{1,3}}\.\d{{3,15}}",
    "number": rf"{_NUMBER_START}(?=\d{{1,15}}[.,'’]\d){_NUMBER}{_NUMBER_END}(?!\s?°)",
    # Its full stop also ends the sentence. Some scripts have no capital letters.
    "last_abbreviation": rf"(?<![\w.])(?:(?i:{ABBREVIATIONS})(?<=\.)(?=\s{{0,9}}(?:\n|\Z))"
    rf"|(?i:{LIST_ENDS})(?=\s[\"'“„«¿¡]?[\p{{Lu}}\p{{Lo}}]))",
    "abbreviation": rf"(?<![\w.])(?i:{ABBREVIATIONS})(?!\w)",
    # The rest of what is connected with a digit: no part of it may be read on its own.
    "unclear": rf"\p{{N}}{{1,3}}(?:{_BLANK}\p{{N}}{{3}}){{1,5}}(?!\p{{N}})"
    r"|\p{N}[\p{N}\p{Latin}_/:.,'’٬٫‑–-]{0,80}",
}
# Only ASCII digits have a meaning; numbers in others stay as they are.
_TOKENS = regex.compile(
    "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()).replace(
        r"\d", "[0-9]"
    )
)
_SIGN_NAMES = frozenset(
    {"power", "at_most", "at_least", "less", "greater", "times", "minus", "plus"}
)
_ORDINAL_ENDINGS = {
    "en": ("st", "nd", "rd", "th"),
    "fr": ("er", "e", "ème"),
    "pt": ("º",),
    "it": ("º",),
}
# Languages in which 3º C is a floor and a door, while 36,5 ºC can only be a temperature.
_FLOOR_SIGN = frozenset({"es", "pt", "it"})
# Languages in which 1/3/2024 is the first of March wherever they are spoken.
_DAY_FIRST = frozenset("fr es pt it tr id ar he hi ur de nl pl ru uk".split())
# Languages that write 10 000; in others it may be two numbers.
_SPACED_THOUSANDS = frozenset("fr es pt pl sv uk ru cs fi hu no nb da".split())


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
        verbalize = _VERBALIZERS.get(name)
        return (verbalize and verbalize(self, token)) or token

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
        value = self._parse_amount(amount)
        return None if value is None else numbers.say_money(value, currency, self.language)

    def coded_dollars(self, token: str) -> str | None:
        """``$50 AUD``: the code tells whose dollars or pesos they are."""
        return self.money(token.replace(numbers.DOLLAR, ""))

    def price_range(self, token: str) -> str | None:
        """``$25–$30``; if it does not rise, its dash stays."""
        first, last = regex.split("[–-]", token)
        start, end = (self._parse_amount(_split_number(part)[0]) for part in (first, last))
        if start is None or end is None:
            return None
        to = self.signs.words.get("to") if start < end else None
        dash = f" {to} " if to else token[len(first)]
        return f"{self.money(first) or first}{dash}{self.money(last) or last}"

    def quantity(self, token: str) -> str | None:
        amount, unit = _split_number(token)
        if "º" in unit and amount.isdigit() and self.language in _FLOOR_SIGN:
            return None
        value = self._parse_amount(amount)
        unit = regex.sub(r"[°º]\s?", "°", unit)
        return None if value is None else numbers.say_quantity(value, unit, self.language)

    def _parse_amount(self, amount: str) -> Decimal | None:
        """The value of an amount, unless spaces in it do not group thousands in the language."""
        if regex.search(r"\s", amount) and self.language not in _SPACED_THOUSANDS:
            return None
        return numbers.parse_number(amount, self.language)

    def range(self, token: str) -> str | None:
        """``2–3 kg``, if it rises; its numbers have the same form, so 555–1234 has no reading."""
        to = self.signs.words.get("to")
        first, _, last = token.replace("-", "–").partition("–")
        start, end = (tuple(map(int, regex.findall(r"\d+", part))) for part in (first, last))
        if not to or len(start) != len(end) or start >= end or _is_extension(start[0], end[0]):
            return None
        if ":" in token:
            return f"{self.time(first) or first} {to} {self.time(last) or last}"
        return f"{_TOKENS.sub(self.read, first)} {to} {_TOKENS.sub(self.read, last)}"

    def time(self, token: str) -> str | None:
        hour, minute = map(int, regex.findall(r"\d+", token))
        pattern = self.signs.words.get("time" if minute else "full_hour")
        return pattern.format(hour=hour, minute=minute) if pattern else None

    def half_day_hour(self, token: str) -> str | None:
        return str(int(token.partition(":")[0])) if "full_hour" in self.signs.words else None

    def ordinal(self, token: str) -> str | None:
        if not token.endswith(_ORDINAL_ENDINGS.get(self.language, ("none",))):
            return None
        return numbers.say_ordinal(int("".join(regex.findall(r"\d", token))), self.language)

    def number(self, token: str) -> str | None:
        # A list without spaces looks the same: 101,102,103.
        is_list = regex.fullmatch(r"\d{3}(?:\D\d{3}){2,5}", token)
        value = None if is_list else numbers.parse_number(token, self.language)
        return None if value is None else numbers.say_number(value, self.language)

    def abbreviation(self, token: str) -> str | None:
        return self.signs.abbreviations.get(compact(token))

    def last_abbreviation(self, token: str) -> str | None:
        words = self.abbreviation(token)
        return words and f"{words}."


def _is_extension(start: int, end: int) -> bool:
    """Whether two numbers look like parts of one: 555-1234."""
    return start >= 100 and len(str(start)) != len(str(end))


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
    "price_range": _Verbalizer.price_range,
    "coded_dollars": _Verbalizer.coded_dollars,
    "money": _Verbalizer.money,
    "range": _Verbalizer.range,
    "quantity": _Verbalizer.quantity,
    "half_day_hour": _Verbalizer.half_day_hour,
    "time": _Verbalizer.time,
    "ordinal": _Verbalizer.ordinal,
    "number": _Verbalizer.number,
    "abbreviation": _Verbalizer.abbreviation,
    "last_abbreviation": _Verbalizer.last_abbreviation,
}

"""Keeps the groups of a phone number in order in texts that are written from right to left."""

from __future__ import annotations

import regex

LEFT_TO_RIGHT_MARK = "\N{LEFT-TO-RIGHT MARK}"
_RIGHT_TO_LEFT = regex.compile(r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}]")
# A number with a country code, or three groups or more with at least eight digits, such as a phone
# number without a country code or the number of a card. A date is none, and reads as people expect.
_GROUPED_NUMBER = regex.compile(
    rf"(?<![\w+.,/{LEFT_TO_RIGHT_MARK}-])(?!\d{{4}}-\d\d?-\d\d?(?!\d)|\d\d?-\d\d?-\d{{4}}(?!\d))"
    r"(?:\+\d(?:[ \u00a0()-]{0,2}\d){6,14}"
    r"|(?=\d(?:[ \u00a0-]?\d){7,18}(?!\d))\d{2,5}(?:[ \u00a0-]\d{2,5}){2,5})"
    rf"(?![\w/{LEFT_TO_RIGHT_MARK}-])",
    regex.ASCII,
)


def keep_numbers_in_order(text: str) -> str:
    """The text with marks around numbers that would be shown in the wrong order.

    Between Arabic or Hebrew letters, a number with blanks or hyphens is shown group by group from
    right to left: +966 50 123 as 123 50 966+ (Unicode Standard Annex 9).
    """
    if not _RIGHT_TO_LEFT.search(text):
        return text
    return _GROUPED_NUMBER.sub(rf"{LEFT_TO_RIGHT_MARK}\g<0>{LEFT_TO_RIGHT_MARK}", text)

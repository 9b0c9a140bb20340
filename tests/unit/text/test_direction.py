"""Numbers with blanks or hyphens in texts that are written from right to left."""

from __future__ import annotations

import pytest

from text.markdown import to_speech, to_whatsapp

MARK = "\u200e"


@pytest.mark.parametrize(
    ("before", "number", "after"),
    [
        ("اتصل بنا على ", "+966 50 123 4567", " الآن"),
        ("اتصل بنا على ", "+966501234567", "."),
        ("اتصل بنا على ", "+966 (50) 123-4567", ""),
        ("الرقم ", "920-012-345", ""),
        ("الرقم ", "050\u00a0123\u00a04567", ""),
        ("بطاقة ", "4111 1111 1111 1111", "."),
        ("חייגו ", "+972 3-123-4567", "!"),
        ("", "+966 50 123 4567", "\nشكرا"),
    ],
)
def test_the_groups_of_a_number_stay_in_order(before: str, number: str, after: str) -> None:
    assert to_whatsapp(before + number + after) == f"{before}{MARK}{number}{MARK}{after}"


@pytest.mark.parametrize(
    "text",
    [
        "Call +966 50 123 4567",
        "التاريخ 2026-11-27 أو 27-11-2026",
        "10-20 يومًا",
        "الأسعار 5 10 15",
        "السعر 1 234 567 ريال",
        "الطلب A-48213-9921-12",
        "https://wa.me/966501234567 الرقم",
        f"{MARK}+966 50 123 4567{MARK} الآن",
    ],
)
def test_other_texts_get_no_marks(text: str) -> None:
    assert to_whatsapp(text) == text


def test_the_marks_are_not_spoken() -> None:
    assert MARK not in to_speech("اتصل بنا على +966 50 123 4567 الآن")

"""What is sent to be spoken: numbers, codes and signs in words, everything else as it is."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.spoken_numbers import UNITS, say_quantity
from speech.spoken_signs import CATALOGUE
from speech.spoken_text import to_spoken_text
from text.phrases import CATALOGUE as PHRASES

TABLES = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))

CODES = [
    ("Invoice INV-2024-00123.", "Invoice I N V, 2024, 0 0 1 2 3."),
    ("ORDER-00815", "ORDER, 0 0 8 1 5"),
    ("AB123CD", "A B, 1 2 3, C D"),
    ("No 0815 and 007", "No 0 8 1 5 and 0 0 7"),
    ("12345678", "1 2 3, 4 5 6, 7 8"),
    ("1234567", "1 2 3, 4 5 6 7"),
    ("+44 20 7946 0018", "plus 4 4, 2 0, 7 9 4 6, 0 0 1 8"),
    ("+14155550000", "plus 1 4 1, 5 5 5, 5 0 0, 0 0"),
    ("(202) 555-0123", "2 0 2, 5 5 5, 0 1 2 3"),
    ("030 1234567", "0 3 0, 1 2 3, 4 5 6 7"),
    ("1-800-555-0199", "1, 8 0 0, 5 5 5, 0 1 9 9"),
    ("+44 (0)20 7946 0018", "plus 4 4, 0, 2 0, 7 9 4 6, 0 0 1 8"),
    ("+49 30 123456-0", "plus 4 9, 3 0, 1 2 3 4 5 6, 0"),
    ("030 123456 2024-0501", "0 3 0, 1 2 3 4 5 6 2024-0501"),
    ("+33 1 23 45 67 89", "plus 3 3, 1, 2 3, 4 5, 6 7, 8 9"),
    ("01 23 45 67 89", "0 1, 2 3, 4 5, 6 7, 8 9"),
    ("+1.212.555.0100", "plus 1, 2 1 2, 5 5 5, 0 1 0 0"),
    ("030/1234567", "0 3 0, 1 2 3, 4 5 6 7"),
    ("(11) 91234-5678", "1 1, 9 1 2 3 4, 5 6 7 8"),
    ("+49 30 123456 (9-17)", "plus 4 9, 3 0, 1 2 3 4 5 6 (9-17)"),
    ("+1 212 555 0100 24/7", "plus 1, 2 1 2, 5 5 5, 0 1 0 0 24/7"),
    ("0800 123456 24 hours", "0 8 0 0, 1 2 3 4 5 6 24 hours"),
    ("+44 20 7946 0018 9:00 - 17:00", "plus 4 4, 2 0, 7 9 4 6, 0 0 1 8 9:00 - 17:00"),
    ("DE89 3704 0044 0532 0130 00", "D E 8 9, 3 7 0 4, 0 0 4 4, 0 5 3 2, 0 1 3 0, 0 0"),
    ("help.desk@acme.com", "help dot desk at acme dot com"),
    ("https://www.acme.com/help?x=1.", "acme dot com slash help."),
    ("see acme.com, please", "see acme dot com, please"),
]
KEPT = """COVID-19 | A4 paper | 24/7 | B2B | 4G and MP3 | in 2024 | v1.2.3 | 192.168.0.1
    | 12 o'clock | $5 million | Mr.Smith | 99.99.2024 | 2024-13-45 | C++ | well-known | e-mail | 3.5
    | 1 or 2 | 11/9/2024 | e.g.this""".split("|")
WORDS = {
    "en": [
        ("$50 AUD, $1.50 CAD", "50 Australian dollars, 1 Canadian dollar 50"),
        ("due 2024-03-01", "due March 1, 2024"),
        ("at 2024-03-01T14:30", "at March 1, 2024, 14:30"),
        (
            "1,234 and 1,234,567",
            "1234 and one million, two hundred and thirty-four thousand, five "
            "hundred and sixty-seven",
        ),
        ("$1 $5 $1,234.50 $0.99", "1 dollar 5 dollars 1234 dollars 50 0.99 dollars"),
        ("$1.50, €1.49, €2.49", "1 dollar 50, 1 euro 49, 2 euros 49"),
        ("€20 or 100 SAR", "20 euros or 100 Saudi riyals"),
        ("15% or 15 %", "15 percent or 15 percent"),
        ("1 km/h, 5 km/h", "1 kilometer per hour, 5 kilometers per hour"),
        ("20 °C, 128GB, 2 kg", "20 degrees Celsius, 128 gigabytes, 2 kilograms"),
        ("10^6 and 10^-3", "10 to the power of 6 and 10 to the power of minus 3"),
        ("if x < 5 or x > 3", "if x less than 5 or x more than 3"),
        ("≤ 5, >= 7", "at most 5, at least 7"),
        ("+5 or -120", "plus 5 or minus 120"),
        ("2 + 2, 3 × 4", "2 plus 2, 3 times 4"),
        ("9–17 and 9-17, 2–3 kg, 2-3 kg", "9 to 17 and 9-17, 2 to 3 kilograms, 2 to 3 kilograms"),
        ("5 %–10 %", "5 percent to 10 percent"),
        ("10-20%, 10–20%, 10–20 %", "10 to 20 percent, 10 to 20 percent, 10 to 20 percent"),
        ("5-10 EUR, 5–10 EUR", "5 to 10 euros, 5 to 10 euros"),
        ("$25–$30 or £5-£10", "25 dollars to 30 dollars or 5 British pounds to 10 British pounds"),
        ("5€-10€, 5 €–10 €", "5 euros to 10 euros, 5 euros to 10 euros"),
        ("$500–$1,000, $9.50-$12", "500 dollars to 1000 dollars, 9 dollars 50 to 12 dollars"),
        ("$30–$25 is $5", "30 dollars–25 dollars is 5 dollars"),
        ("the 1st and 22nd", "the first and twenty-second"),
        ("e.g. or e. g. approx. 5", "for example or for example approximately 5"),
        ("red, etc. Please choose.", "red, et cetera. Please choose."),
        ('red, etc. "Yes" is one.', 'red, et cetera. "Yes" is one.'),
        ("red, etc. are out, approx. Monday", "red, et cetera are out, approximately Monday"),
        ("(red, etc.) or red, etc., too", "(red, et cetera) or red, et cetera, too"),
        ("red, etc.", "red, et cetera."),
        ("Ask our dept.\n5 are open", "Ask our department. 5 are open"),
        ("20,000", "twenty thousand"),
        ("9:00–17:00, 9:00-17:00", "9:00 to 17:00, 9:00 to 17:00"),
        ("Order 1001 - 250 EUR", "Order 1001 - 250 euros"),
        ("−120 SAR, +500 SAR", "minus 120 Saudi riyals, plus 500 Saudi riyals"),
        ("-$5.00", "minus 5 dollars"),
        ("1.5 m and 350 W 42nd St", "1.5 meters and 350 W forty-second St"),
        ("37º C, 90 km/h", "37 degrees Celsius, 90 kilometers per hour"),
        ("age < 18 or > 65", "age less than 18 or more than 65"),
        ("1,000,000 users", "one million users"),
    ],
    "de": [
        ("am 01.03.2024", "am 1. März 2024"),
        ("1.234,50 € und 5 €", "1234 Euro 50 und 5 Euro"),
        ("z. B. ca. 3,5 kg", "zum Beispiel circa 3,5 Kilogramm"),
        ("9:00–17:30 Uhr", "9 Uhr bis 17 Uhr 30"),
        ("um 14:05 Uhr", "um 14 Uhr 5"),
        ("Rot usw. Bitte ca. Mai", "Rot und so weiter. Bitte circa Mai"),
        ("1 Std., 12.500", "1 Std., zwölftausendfünfhundert"),
        ("10 - 20 %", "10 - 20 Prozent"),
        ("1.2.2024 - 5.2.2024", "1. Februar 2024 - 5. Februar 2024"),
        ("5-10 €, 5–10 €, 10–20 %", "5 bis 10 Euro, 5 bis 10 Euro, 10 bis 20 Prozent"),
        ("1.200 €–1.500,50 €", "1200 Euro bis 1500 Euro 50"),
        ("9–17 Uhr, 9-17 Uhr", "9 bis 17 Uhr, 9 bis 17 Uhr"),
    ],
    "fr": [
        ("le 01/03/2024 à 14h30", "le 1 mars 2024 à 14 heures 30"),
        ("1 234,50 €", "1234 euros 50"),
        ("environ 10 000 km", "environ dix mille kilomètres"),
        ("2e étage, 1er mars, 15 %", "deuxième étage, premier mars, 15 pour cent"),
        ("n° 5", "numéro 5"),
    ],
    "es": [
        ("a las 14:05, n.º 5", "a las 14 05, número 5"),
        ("5 km/h", "5 kilómetros por hora"),
        ("1,99 €", "1 euro 99"),
        ("$1,250.00 MXN, CLP $990", "1250 pesos mexicanos, 990 pesos chilenos"),
        ("a las 3:00 p.m., a la 01:00 p. m.", "a las 3 p.m., a la 1 p. m."),
        ("a las 11:00 AM, a las 3:30 p.m.", "a las 11 AM, a las 3 30 p.m."),
        ("a las 15:00 a mano", "a las 15 horas a mano"),
        ("rojo, etc. ¿Cuál?", "rojo, etcétera. ¿Cuál?"),
        ("20 °C, 68 °F, 36,5 ºC", "20 grados Celsius, 68 grados Fahrenheit, 36,5 grados Celsius"),
        ("es el n.º", "es el número"),
    ],
    "pt": [
        ("às 14:30, R$ 20,50", "às 14 e 30, 20 Reais brasileiros 50"),
        ("1º", "primeiro"),
        ("às 15:00, às 3:00 p.m.", "às 15 horas, às 3 p.m."),
    ],
    "it": [("alle 14:30", "alle 14 e 30"), ("16 GB", "16 gigabyte")],
    "tr": [("%15 ve 15 %", "yüzde 15 ve yüzde 15")],
    "id": [("Rp 20.000", "dua puluh ribu Rupiah Indonesia"), ("dll.", "dan lain-lain.")],
    "ar": [
        ("خصم 15%", "خصم 15 بالمئة"),
        ("و15% و 5 km/h", "و15 بالمئة و 5 كيلومتر في الساعة"),
        ("100 SAR", "100 ريال سعودي"),
        ("10–20%", "10 إلى 20 بالمئة"),
        ("أحمر، إلخ. اختر", "أحمر، إلى آخره. اختر"),
    ],
    "he": [("15% או 5 km/h", "15 אחוז או 5 קילומטר לשעה")],
    "hi": [("₹1,23,456 और 15%", "123456 भारतीय रुपए और 15 प्रतिशत")],
    "ur": [("15% اور 5 kg", "15 فیصد اور 5 کلو گرام")],
    # Without words for signs, but with units and months.
    "nl": [("5 km/h op 01.03.2024, x < 5", "5 kilometer per uur op 1 maart 2024, x < 5")],
    "pl": [("5,50 PLN i 5,5 PLN", "5 złotych polskich 50 i 5,5 złotego polskiego")],
}


# Of each, no digit, zero, sign or separator may be lost, and no part may be read on its own.
UNCLEAR = {
    "ar": ["٢٥٬٠٠٠", "١٢٫٠٥", "٠٩:٠٠", "٠٥٠ ١٢٣ ٤٥٦٧", "$ 10.000", "€1.000"],
    "hi": ["०९८७६ ५४३२१०"],
    "en": [
        "Invoice 2024-0012",
        "20-00-00, 12:00h, 10:00:00, 12:30:05, expires 05/24",
        "05-12-2024, 08-12 14-18, 05 12 2024",
        "9:00 - 17:00",
        "9:00 -17:00",
        "747-800, 1234-5678, 12-345, 555–1234, 17–9",
        "192.168.100.200, 2.14.305, 120.10.234, 101,102,103, 10,20,300",
        "10 000 users, 1 000 000, 1 000 zł",
        "1000000 users",
        "iPhone 15 128 GB",
        "$5m, £5m, $10.5M, USD5M, SAR500K, 10.5K, 1.25M, 500K, 98.6F, 1.99GB/month, 100MB/s",
        "1990s, '90s, iPhone 6s, 30s, 350 W, 123 W Main, Size 38 L",
        "98765 43210",
        "$ 10.000, €1.000, 3,5 kg",
        "€1.000–€2.000, 555–1234 €",
        "Your code is 123456, OTP 482913, 10115 Berlin",
        "a -> 5, b => 5, Menu > 2, I <3 you, UTC-0500, this vs. that",
        "ISBN 978-3-16-148410-0, EIN 12-3456789, CPF 123.456.789-09",
        "48.137, 11.575",
    ],
    "de": [
        "2 - 3 Werktage",
        "24.12. und 12.05., 14.30 Uhr, 9.00, Python 3.12, iOS 17.5, 3.5 kg, 1,000 €",
        "GPS 48.137, 11.575",
        "1:50, 3:16, 16:10, 21:15, 1:30 Std., 2h30",
        "22:00–06:00",
    ],
    "fr": ["iPhone 15 128 GB"],
    "es": ["C/ Mayor 12, 3º C, 1ºF"],
    "pt": ["Rua Augusta 12, 3º C"],
    "it": ["Via Roma 12, 3º F"],
}


@pytest.mark.parametrize(("written", "said"), CODES)
@pytest.mark.parametrize("with_numbers", [True, False])
def test_codes_are_spelt_for_every_model(written: str, said: str, with_numbers: bool) -> None:
    assert to_spoken_text(written, "en", with_numbers=with_numbers) == said


@pytest.mark.parametrize("text", [text.strip() for text in KEPT])
def test_what_is_read_well_or_is_unclear_stays_as_it_is(text: str) -> None:
    assert to_spoken_text(text, "en", with_numbers=True) == text


@pytest.mark.parametrize(
    ("language", "text"),
    [(language, text) for language, texts in UNCLEAR.items() for text in texts],
)
def test_an_unclear_number_stays_whole(language: str, text: str) -> None:
    assert to_spoken_text(text, language, with_numbers=True) == text


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [(language, *row) for language, rows in WORDS.items() for row in rows],
)
def test_numbers_and_signs_become_words_of_the_language(
    language: str, written: str, said: str
) -> None:
    assert to_spoken_text(written, language, with_numbers=True) == said


@pytest.mark.parametrize(("language", "with_numbers"), [("en", False), ("xx", True), (None, True)])
def test_numbers_stay_where_the_model_reads_them_or_the_language_has_no_data(
    language: str | None, with_numbers: bool
) -> None:
    text = "5 km/h, 15 %, $1,234.50, 128GB, 2024-03-01, 10^6"
    assert to_spoken_text(text, language, with_numbers=with_numbers) == text


def test_a_code_without_a_known_language_is_spelt_and_its_address_is_not() -> None:
    text = "INV-2024-00123, help@acme.com"
    said = to_spoken_text(text, None, with_numbers=True)
    assert said == "I N V, 2024, 0 0 1 2 3, help@acme.com"


@pytest.mark.parametrize("language", tomllib.loads(PHRASES.read_text(encoding="utf-8")))
def test_every_language_of_ours_has_words_for_addresses_and_signs(language: str) -> None:
    needed = {"plus", "minus", "to", "at", "dot", "hyphen", "underscore", "slash", "times", "power"}
    assert needed <= TABLES[language].keys()


@pytest.mark.parametrize("language", TABLES)
def test_what_ends_a_list_is_an_abbreviation(language: str) -> None:
    table = TABLES[language]
    assert set(table.get("list_ends", [])) <= table.get("abbreviations", {}).keys()


@pytest.mark.parametrize("language", TABLES)
def test_every_unit_has_a_name_in_every_language(language: str) -> None:
    for unit in UNITS:
        assert say_quantity(Decimal(5), unit, language)


@given(st.text(alphabet="0123456789.,:-–+%€$<>^/@ aAkKmhº°CéوІ٣\n'()", max_size=60))
def test_any_text_can_be_worded(text: str) -> None:
    for language in (None, "en", "ar", "hi", "xx"):
        assert isinstance(to_spoken_text(text, language, with_numbers=True), str)

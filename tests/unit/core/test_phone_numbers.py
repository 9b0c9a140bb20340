from __future__ import annotations

import pytest

from core.phone_numbers import whatsapp_address


@pytest.mark.parametrize(
    "number",
    [
        "+15550100",
        "whatsapp:+15550100",
        " WhatsApp: +1 555 0100 ",
        "+1 (555) 01-00",
        "+1.555.01/00",
        "+1 555–01‑00",
        "'+15550100'",
        "“+1 555 0100”",
        "＋１ ５５５ ０１００",
        "+١٥٥٥٠١٠٠",
        "\u202a+1\u00a0555\u00a00100\u202c",
        "0015550100",
    ],
)
def test_a_number_as_people_write_it(number: str) -> None:
    assert whatsapp_address(number) == "whatsapp:+15550100"


def test_the_id_of_a_user_who_hides_the_number() -> None:
    assert whatsapp_address("whatsapp:US.13491208655") == "whatsapp:US.13491208655"


@pytest.mark.parametrize("number", ["", "+", "+1", "15550100", "my phone", "+1555010x", "sms:+1"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"begins with \+"):
        whatsapp_address(number)

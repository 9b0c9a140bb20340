"""The language of short and of mixed texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.language_detection import detect_language, has_words

SENTENCES = {
    "en": ["Where is my order?", "Can I return this?", "Please send me the invoice INV-2024-00123"],
    "de": ["Wo ist meine Bestellung?", "Kann ich das zurückgeben?", "WO IST MEINE BESTELLUNG"],
    "fr": ["Où est ma commande ?", "Merci de m'envoyer la facture INV-2024-00123"],
    "es": ["¿Dónde está mi pedido?", "cancelar mi suscripción"],
    "pt": ["Onde está o meu pedido?", "cancelar minha assinatura"],
    "it": ["Dov'è il mio ordine?", "annullare il mio abbonamento"],
    "tr": ["Siparişim nerede?", "Bunu iade edebilir miyim?"],
    "id": ["Di mana pesanan saya?", "Saya butuh bantuan dengan faktur saya"],
    "nl": ["Waar is mijn bestelling?", "Ik heb hulp nodig met mijn factuur"],
    "pl": ["Gdzie jest moje zamówienie?"],
    "vi": ["Đơn hàng của tôi ở đâu?"],
    "fil": ["Nasaan na po ang order ko? Kailangan ko ng tulong."],
    "ar": ["أين طلبي؟", "لا، ليس بعد.", "الرجاء إرسال الفاتورة INV-2024-00123"],
    "ur": ["میرا آرڈر کہاں ہے؟", "کیا میں اسے واپس کر سکتا ہوں؟"],
    "fa": ["سفارش من کجاست؟", "می‌توانم آن را پس بدهم؟"],
    "hi": ["मेरा ऑर्डर कहाँ है?"],
    "he": ["איפה ההזמנה שלי?"],
    "ru": ["Где мой заказ?"],
    "uk": ["Де моє замовлення?"],
    "zh": ["我的订单在哪里？"],
    "ja": ["注文はどこですか？", "請求書について"],
    "ko": ["제 주문은 어디에 있나요?"],
    "el": ["Πού είναι η παραγγελία μου;"],
    "ta": ["எனது ஆர்டர் எங்கே?"],
}


@pytest.mark.parametrize(
    ("text", "language"),
    [(text, language) for language, texts in SENTENCES.items() for text in texts],
)
def test_a_short_sentence_tells_its_language_whatever_was_used_before(
    text: str, language: str
) -> None:
    assert detect_language(text) == language
    for fallback in ("en", "ar", "ur", "fr"):
        assert detect_language(text, fallback) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "123 👍",
        "INV-2024-00123",
        "https://example.com/where/is/my/order",
        "where.is.my@order.example",
        "SKU AB-12",
        "OK",
        "+44 20 7946 0018",
        "iPhone 15 Pro Max, Samsung Galaxy S24 Ultra",
    ],
)
@pytest.mark.parametrize("fallback", ["en", "de", "ar", "hi", "ms", None])
def test_what_is_no_sentence_is_in_the_language_used_before(
    text: str, fallback: str | None
) -> None:
    assert detect_language(text, fallback) == fallback


@pytest.mark.parametrize(
    ("text", "fallback", "language"),
    [
        ("حسنا", "en", "ar"),
        ("حسنا", "ur", "ur"),
        ("Да", "de", "ru"),
        ("Да", "uk", "uk"),
        ("คำสั่งซื้อของฉันอยู่ที่ไหน", "en", None),
        ("คำสั่งซื้อของฉันอยู่ที่ไหน", "th", "th"),
        ("Di mana pesanan saya?", "ms", "ms"),
        ("मेरा ऑर्डर कहाँ है?", "mr", "mr"),
        ("مرحبا, I need help with my invoice", None, "en"),
        ("Please ask for الفاتورة الإلكترونية الجديدة من فضلك", None, "ar"),
        ("您的订单4711已发货。", None, "zh"),
        ("注文番号4711は5月3日に発送されました。", "en", "ja"),
    ],
)
def test_the_script_decides_where_words_do_not(
    text: str, fallback: str | None, language: str | None
) -> None:
    """English is never assumed of Arabic letters, nor of a script that no language here has."""
    assert detect_language(text, fallback) == language


def test_a_guess_can_be_wanted_more_certain() -> None:
    text = "Please reply to Müller GmbH & Co. KG, Hauptstraße 5, 80331 München"
    assert detect_language(text, "en", min_probability=0.5) == "de"
    assert detect_language(text, "en", min_probability=0.9) == "en"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is it?", True),
        ("yes", True),
        ("أين", True),
        ("订单4711在哪里", True),
        ("INV-2024-00123", False),
        ("INV 2024.", False),
        ("12 34", False),
        ("", False),
    ],
)
def test_codes_are_no_words(text: str, expected: bool) -> None:
    assert has_words(text) is expected


@given(st.text(), st.sampled_from([None, "en", "ar", "ms", "xx"]))
def test_any_text_can_be_judged(text: str, fallback: str | None) -> None:
    language = detect_language(text, fallback)
    assert language is None or 2 <= len(language) <= 3

"""An agent's Markdown as a WhatsApp user reads it, and as a voice says it."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from text import markdown as markup
from text.markdown import clean, paragraphs, to_speech, to_whatsapp

# What makes Markdown parsers stumble, and what people really write, in any order.
PIECES = st.sampled_from(
    "* ** *** _ __ ~~ ` ``` # ## > - + 1. 2) | |-| [ ] ( ) [a](http://b.c) ![i](http://b.c/d) "
    "<b> </b> <br> <a_href='http://x'> </a> <!-- --> <your_name> &lt; &#x202e; &#7; &#13; \\ "
    "http://a.b/c%20d www.a.com a@b.com مرحبا عنوان: 5 * 3 word é 🚀 👨‍👩‍👧".split()
    + ["\n", "\n\n", " ", "  ", "\t", "\x00", "\x1b", "\u202e", "\ufeff", "\r\n", "\u2028", "    "]
)
MARKDOWN = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**bold**", "*bold*"),
        ("__bold__", "*bold*"),
        ("*italic*", "_italic_"),
        ("_italic_", "_italic_"),
        ("~~gone~~", "~gone~"),
        ("***both***", "_*both*_"),
        ("**a _b_ c**", "*a _b_ c*"),
        ("a `code` b", "a `code` b"),
        ("`**not bold**`", "`**not bold**`"),
        ("**4* Hotel Alpha** – 99 €", "4* Hotel Alpha – 99 €"),
        ("**Hotel 5*:** 99 €", "Hotel 5*: 99 €"),
        ("**Price from 99 €* per night**", "Price from 99 €* per night"),
        ("**5* hotel**, **4* hotel**", "5* hotel, 4* hotel"),
        ("A 4* and a 5* hotel", "A 4* and a 5* hotel"),
        ("*Total: 5* and *99 €*", "_Total: 5_ and _99 €_"),
        ("**a *b 5* c**", "*a _b 5_ c*"),
        ("# Title", "*Title*"),
        ("###### Title", "*Title*"),
        ("Title\n===", "*Title*"),
        ("## The **big** _one_", "*The big _one_*"),
        ("# Title\ntext", "*Title*\n\ntext"),
        ("above\n\n---\n\nbelow", "above\n\nbelow"),
        ("line  \nbreak", "line\nbreak"),
        ("line\\\nbreak", "line\nbreak"),
        ("line\nbreak", "line\nbreak"),
        ("> quote", "> quote"),
        ("> one\n>\n> two", "> one\n>\n> two"),
        ("> - a\n> - b", "> - a\n> - b"),
        ("> one\ntwo", "> one\n\ntwo"),
        ("> one\n> two\nthree\n> four", "> one\n> two\n\nthree\n\n> four"),
        ("> > one\n> two\nthree", "> > one\n>\n> two\n\nthree"),
        ("> - a\nb", "> - a\n\nb"),
        ("- > a\n  b\n- c", "- > a\nb\n- c"),
        ("- > a\n>65 b", "- > a\n\n>65 b"),
        ("one\n\n\n\n\ntwo", "one\n\ntwo"),
        ("  indented", "indented"),
        ("    no program", "no program"),
        ("AT&amp;T &lt;b&gt;", "AT&T <b>"),
        (r"\*literal\*", "*literal*"),
    ],
)
def test_each_mark_becomes_whatsapps_own(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "5 * 2 * 3",
        "2*3*4 = 24",
        "٣*٤*٥",
        "Dear <your name>, 2 < 3 & 4 > 1",
        "snake_case_name.txt",
        "**unbalanced",
        "*unbalanced",
        "a ~ b ~ c",
        "half an `open code",
        "~5 minutes",
        "C# and #1",
        "(a) and [b] and {c}",
        "call +1 (555) 010-0100",
        "مرحبا بك، كيف حالك؟",
        "👨‍👩‍👧 and 🇪🇬",
        "50 % - 10 % = 40 %",
        "3.5",
        "",
    ],
)
def test_plain_chat_stays_as_it_is(text: str) -> None:
    assert to_whatsapp(text) == text


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**two\nlines**", "*two*\n*lines*"),
        ("*two\nlines*", "_two_\n_lines_"),
        ("**a _b\nc_ d**", "*a _b_*\n*_c_ d*"),
        ("~~two\nlines~~", "~two~\n~lines~"),
    ],
)
def test_marks_end_on_the_line_they_begin_on(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("[shop](https://a.b/c_d*e)", "shop (https://a.b/c_d*e)"),
        ("[https://a.b](https://a.b)", "https://a.b"),
        ("[](https://a.b)", "https://a.b"),
        ("[nothing]()", "nothing"),
        ("<https://a.b/c%20d>", "https://a.b/c%20d"),
        ("see https://a.b/c%20d?e=%2F_x_ now", "see https://a.b/c%20d?e=%2F_x_ now"),
        ("https://xn--mgbh0fb.com/", "https://xn--mgbh0fb.com/"),
        ("https://مثال.com/صفحة", "https://مثال.com/صفحة"),
        ("www.a.com/x_y_z", "www.a.com/x_y_z"),
        ("ask a@b.com", "ask a@b.com"),
        ("[mail](mailto:a@b.com)", "mail (mailto:a@b.com)"),
        ("[a@b.com](mailto:a@b.com)", "a@b.com"),
        ("**[shop](https://a.b)**", "*shop (https://a.b)*"),
        ("[**shop**](https://a.b)", "*shop* (https://a.b)"),
        ("[shop]\n\n[shop]: https://a.b", "shop (https://a.b)"),
        ("![plan](https://a.b/p.png)", "plan (https://a.b/p.png)"),
        ("![](https://a.b/p.png)", "https://a.b/p.png"),
        ("[Pay](upi://pay?pa=a@b)", "Pay (upi://pay?pa=a@b)"),
        ("[Join](zoommtg://zoom.us/join?confno=1)", "Join (zoommtg://zoom.us/join?confno=1)"),
        ("[Call](sip:a@b.com), [chat](skype:a?chat)", "Call (sip:a@b.com), chat (skype:a?chat)"),
        ("[Dates](webcal://a.b/c.ics)", "Dates (webcal://a.b/c.ics)"),
        ("[x](javascript:a) [y](DATA:a) [z](vbscript:a) [f](file:///a)", "x y z f"),
        ("<a href='upi://pay?pa=a@b'>Pay</a>", "Pay (upi://pay?pa=a@b)"),
        ("<a href='JavaScript:upi:a'>x</a> <a href='java&#115;cript:a'>y</a>", "x y"),
        (
            "[Shop]: https://a.com\n[Shop]: https://b.com",
            "[Shop]: https://a.com\n[Shop]: https://b.com",
        ),
        ("[Shop](https://c.d)\n\n[Shop]: https://a.b", "Shop (https://c.d)\n\n[Shop]: https://a.b"),
        ("[المتجر](https://a.b)", "المتجر (https://a.b)"),
    ],
)
def test_links_and_images_show_an_address_that_can_be_tapped(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("* a\n* b", "- a\n- b"),
        ("+ a\n+ b", "+ a\n+ b"),
        ("1. a\n2. b", "1. a\n2. b"),
        ("7) a\n8) b", "7) a\n8) b"),
        ("- a\n  - b\n    - c\n- d", "- a\n- b\n- c\n- d"),
        ("1. a\n   - x\n   - y\n2. b", "1. a\n- x\n- y\n2. b"),
        ("- a\n\n  more\n- b", "- a\nmore\n- b"),
        ("- **k**: v", "- *k*: v"),
        ("1. a\n\n   ```\n   x\n   ```\n2. b", "1. a\n```\nx\n```\n2. b"),
        ("- [ ] open\n- [x] done", "- [ ] open\n- [x] done"),
        ("intro\n- a", "intro\n- a"),
        ("intro\n\n- a", "intro\n\n- a"),
        ("Steps:\n1. a\n1. b", "Steps:\n1. a\n2. b"),
        ("- أولاً\n- ثانيًا", "- أولاً\n- ثانيًا"),
    ],
)
def test_lists_are_flat_and_keep_their_numbers(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("Netto 100 €  \n+ MwSt. 19 €  \n= 119 €", "Netto 100 €.\n+ MwSt. 19 € = 119 €."),
        ("Price: 100 €\n+ VAT", "Price: 100 €.\n+ VAT."),
        ("100 €\n+ ca. 5 € Versand", "100 €.\n+ ca. 5 € Versand."),
        ("Pros:\n+ Cheap\n+ Fast\n\nCons:\n- Slow", "Pros:\nCheap.\nFast.\nCons:\nSlow."),
    ],
)
def test_a_plus_stays_a_plus_and_is_spoken_beside_a_number(markdown: str, spoken: str) -> None:
    assert to_whatsapp(markdown) == markdown.replace("  \n", "\n")
    assert to_speech(markdown) == spoken


@pytest.mark.parametrize(
    "dates",
    [
        "Feiertage:\n\n1. Januar\n1. Mai\n1. November",
        "1. **Mai**\n1. Tag der Arbeit",
        "1. janvier\n1. août",
        "1. يناير\n1. مايو",
    ],
)
def test_dates_are_not_renumbered(dates: str) -> None:
    assert to_whatsapp(dates) == dates.replace("**", "*")


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("```python\nx = *1*\n\ny\n```", "```\nx = *1*\n\ny\n```"),
        ("~~~\nx\n~~~", "```\nx\n```"),
        ("```Order 12345\nTotal 5\n```", "```\nOrder 12345\nTotal 5\n```"),
        ("```python3\nx\n```", "```\nx\n```"),
        ('```js title="a.js"\nx\n```', "```\nx\n```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("```\n<b>x</b> [a](b)\n```", "```\n<b>x</b> [a](b)\n```"),
    ],
)
def test_programs_stay_as_they_are_without_a_language(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        (
            "| Plan | Price |\n|:--|--:|\n| Basic | **5** |\n| Pro | [9](http://a.b) |",
            "- *Plan:* Basic, *Price:* *5*\n- *Plan:* Pro, *Price:* 9 (http://a.b)",
        ),
        ("| A | B |\n|---|---|\n| | x |", "- *A:* –, *B:* x"),
        ("| A | B |\n|---|---|\n| x | y |\n| | |", "- *A:* x, *B:* y\n- *A:* –, *B:* –"),
        ("> | A | B |\n> |---|---|\n> | x | y | 3 € |", "> - *A:* x, *B:* y, 3 €"),
        ("A | B\n---|---\nx | y | a\\|b", "- *A:* x, *B:* y, a|b"),
        ("| | B |\n|---|---|\n| x | y |", "- x, *B:* y"),
        ("| **A** |\n|---|\n| x |", "- *A:* x"),
        ("| A |\n|---|\n| x | too | many |", "- *A:* x, too, many"),
        ("| السعر |\n|---|\n| ٥ |", "- *السعر:* ٥"),
        ("no | table", "no | table"),
        ("| A |\n|---|\n| x |\nWhich one?", "- *A:* x\n\nWhich one?"),
        ("A | B\n---|---\nx | y\nmore\nu | v", "- *A:* x, *B:* y\n\nmore\nu | v"),
        ("> | A |\n> |---|\n> | x |\n> more", "> - *A:* x\n>\n> more"),
        ("- a\n\n  | A |\n  |---|\n  | x |\n  more", "- a\n- *A:* x\nmore"),
    ],
)
def test_table_rows_become_bullets_that_name_each_column(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<b>Hi</b><br>you", "Hi\nyou"),
        ("Use <B CLASS='x'>bold</B><br />now", "Use bold\nnow"),
        ("<p>One.</p><p>Two.</p>", "One.\nTwo."),
        ("<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ("<div>\nblock\n</div>", "block"),
        ("<a href='https://a.b/c'>shop</a> now", "shop (https://a.b/c) now"),
        ('See <a class="x" href="https://a.b">this</a>.', "See this (https://a.b)."),
        ("<a name='x'>anchor</a>", "anchor"),
        ("before <!-- secret --> after", "before  after"),
        ("<!-- secret\nsecret -->\n\nHi", "Hi"),
        ("<your name>", "<your name>"),
        ("2<sup>n</sup>, m<sup>2</sup>, 10<sup>-3</sup>", "2^n, m^2, 10^-3"),
        ("1<sup>st</sup>, 2<sup>e</sup>, n<sup>o</sup> 5", "1st, 2e, no 5"),
        ("log<sub>2</sub>8, H<sub>2</sub>O, 101<sub>2</sub>", "log_2 8, H2O, 101_2"),
        ("19<sup>99</sup> € or $19<sup>99</sup>", "19,99 € or $19.99"),
        ("19<sup>99</sup> rows", "19^99 rows"),
        ("<sup>1</sup>/<sub>2</sub> or 2<sup>1</sup>/<sub>2</sub>", "1/2 or 2 1/2"),
        ("<s>10</s>5 and <del>10 €</del>, then <s>1</s> 2", "10 5 and 10 €, then 1 2"),
        ('<ol start="5"><li>a</li><li>b</li></ol>', "5. a\n6. b"),
        ("<ol><li value='3'>a</li><li>b</li></ol>", "3. a\n4. b"),
        ("<b", "<b"),
    ],
)
def test_html_leaves_its_text_and_its_addresses(html: str, shown: str) -> None:
    assert to_whatsapp(html) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("مرحبا **عالم** و*مائل*", "مرحبا *عالم* و_مائل_"),
        ("# عنوان", "*عنوان*"),
        ("**رقم الفاتورة:** ١٢٣", "*رقم الفاتورة:* ١٢٣"),
        ("> اقتباس", "> اقتباس"),
    ],
)
def test_arabic_gets_the_same_marks(markdown: str, shown: str) -> None:
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize("entity", ["&#x202e;", "&#8238;", "&#13;", "&#12;", "&#7;", "&#xfeff;"])
def test_entities_smuggle_no_control_characters_in(entity: str) -> None:
    for rendered in (to_whatsapp(f"a{entity}b"), to_speech(f"a{entity}b")):
        assert all(unicodedata.category(sign) != "Cc" for sign in rendered.replace("\n", ""))
        assert not set(rendered) & {"\u202e", "\ufeff"}


@given(MARKDOWN)
@settings(max_examples=300)
def test_any_text_can_be_shown(markdown: str) -> None:
    """Nothing raises, and no control characters, overrides or stray blanks come through."""
    shown = to_whatsapp(markdown)
    assert shown == clean(shown)
    assert shown == shown.strip()
    assert "\n\n\n" not in shown


@given(MARKDOWN)
@settings(max_examples=300)
def test_any_text_can_be_spoken(markdown: str) -> None:
    """Whatever comes in, a voice never gets addresses, backticks or emoji to spell."""
    spoken = to_speech(markdown)
    assert spoken == clean(spoken)
    assert "\n\n" not in spoken
    assert "://" not in spoken
    assert "`" not in spoken
    assert not regex.search(r"[^\P{Emoji_Presentation}✅❌✖]", spoken)
    assert all(line.rstrip("\"'").rstrip()[-1:] for line in spoken.split("\n") if line)


@given(st.text(st.characters(whitelist_categories=["L", "N"]), min_size=1, max_size=30))
def test_no_letter_or_digit_is_lost(word: str) -> None:
    sentence = f"**{word}** is [{word}](https://a.b)"
    assert to_whatsapp(sentence).count(word) >= 2
    assert to_speech(sentence).count(word) >= 2


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("**Hello** _there_ ~~you~~ `x`", "Hello there you x."),
        ("# Title\ntext", "Title.\ntext."),
        ("Done! 🎉👍🏽 5️⃣", "Done! 5."),
        ("It is 25 °C", "It is 25 °C."),
        ("Is it?", "Is it?"),
        ("هل هذا صحيح؟", "هل هذا صحيح؟"),
        ("مرحبا **بك**", "مرحبا بك."),
        ("- a\n- b!", "a.\nb!"),
        ("1. a\n2. b", "1. a.\n2. b."),
        ("2*3*4 and 5 * 6", "2 × 3 × 4 and 5 × 6."),
        ("> said", "said."),
        ("> said\nIs it?", "said.\nIs it?"),
        ("a\nb", "a b."),
        ("a\n\nb", "a.\nb."),
        ("[shop](https://a.b)", "shop."),
        ("See https://a.b/c now", "See now."),
        ("See [https://a.b](https://a.b) (https://c.d) now", "See now."),
        ("Run `https://a.b/c` now", "Run now."),
        ("![plan](https://a.b/p.png)", ""),
        ("Look:\n\n```\nx = 1\n```", "Look:"),
        ("Prices:\n\n| A |\n|---|\n| 1 |", "Prices:"),
        ("| A |\n|---|\n| 1 |\nWhich one?", "Which one?"),
        ("<div>\nblock\n</div>", "block."),
        ("<p>One</p><p>Two!</p>", "One.\nTwo!"),
        ("<a href='https://a.b'>shop</a>", "shop."),
        ("Dial *144*1*2# or *#06# now", "Dial *144*1*2# or *#06# now."),
        ("WiFi ✅, Parking ❌", "WiFi ✅, Parking ❌."),
        ("▲ 5 %, ▼ 3 %, size Ⓐ, 🔟", "▲ 5 %, ▼ 3 %, size Ⓐ, 10."),
        ("Write to <info@acme.com>.", "Write to info@acme.com."),
        ("See <https://a.b> now", "See now."),
        ("> -5 °C", "> -5 °C."),
        ("---", ""),
        ("👍", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_speech_is_sentences_without_signs_addresses_and_tables(markdown: str, spoken: str) -> None:
    assert to_speech(markdown) == spoken


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("**Adultes :** 2\n450 € au total", "Adultes : 2.\n450 € au total."),
        ("Sztuk: 1  \n250 PLN", "Sztuk: 1.\n250 PLN."),
        ("Tel. 030 1234567\\\n10115 Berlin", "Tel. 030 1234567.\n10115 Berlin."),
        ("Sat: 10 AM - 2 PM\nSun: closed", "Sat: 10 AM - 2 PM.\nSun: closed."),
        ("السعر: ٢\n٤٥٠ ريال", "السعر: ٢.\n٤٥٠ ريال."),
        ("数量：2\n450 元", "数量：2.\n450 元."),
        ("*Adults: 2\nKids: 3*", "Adults: 2.\nKids: 3."),
        ("- Adults: 2\n  450 €\n- Kids: 3", "Adults: 2.\n450 €.\nKids: 3."),
        ("Hello,\nMs Diaz", "Hello,\nMs Diaz."),
        ("Colours:\n• red\n• blue", "Colours:\n• red.\n• blue."),
        ("Adults: 2\nkids: 3\na.b@c.com", "Adults: 2.\nkids: 3.\na.b@c.com."),
    ],
)
def test_the_end_of_a_line_ends_a_spoken_sentence(markdown: str, spoken: str) -> None:
    assert to_speech(markdown) == spoken


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("It comes\non **Monday**\nor later", "It comes on Monday or later."),
        ("It comes\n**on Monday**", "It comes on Monday."),
        ("2 rooms\n(“quiet”)\n3 beds", "2 rooms (“quiet”).\n3 beds."),
        ("100 €\n= 119 $", "100 € = 119 $."),
        ("100 € =\n119 $", "100 € = 119 $."),
        ("WiFi\n✅\nParking\n❌", "WiFi ✅.\nParking ❌."),
        ("✅\nWiFi", "✅ WiFi."),
        ("See\nhttps://a.b\nnow", "See now."),
        ("one<br>two", "one.\ntwo."),
    ],
)
def test_a_line_that_continues_a_spoken_sentence_is_joined_to_it(
    markdown: str, spoken: str
) -> None:
    assert to_speech(markdown) == spoken


@pytest.mark.parametrize(
    "unit", ["*a ", "**a ", "[a](", "![", "[", "<a ", "<!--", "`", "_a", "> ", "- ", "a-", "&#"]
)
def test_long_hostile_text_is_rendered(unit: str) -> None:
    """Much of what parsers hate comes back, without a recursion error."""
    hostile = unit * (16_384 // len(unit))
    assert isinstance(to_whatsapp(hostile), str)
    assert "://" not in to_speech(hostile)


def test_deep_nesting_is_rendered() -> None:
    """Deeper than a person would nest, text may be lost, but nothing raises."""
    assert to_whatsapp("\n".join("  " * depth + "- a" for depth in range(8))) == "\n".join(
        ["- a"] * 8
    )
    assert to_whatsapp("\n".join("  " * depth + "- a" for depth in range(300))).startswith(
        "- a\n- a"
    )
    assert to_whatsapp("> " * 300 + "a").startswith("> > >")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc\nd\te", "a\nb\nc\nd\te"),
        ("a\x00b\x07c\x1bd\x7fe\x85f", "abcdef"),
        ("\ufeffa\u202eb\u2066c\u2069", "abc"),
        ("a\ud800b", "ab"),
        ("\u200fمرحبا\u200c\u200d", "\u200fمرحبا\u200c\u200d"),
        ("👨‍👩‍👧 é e\u0301", "👨‍👩‍👧 é e\u0301"),
    ],
)
def test_clean_drops_what_nobody_can_see_and_keeps_joiners(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_paragraphs_leave_blank_messages_out() -> None:
    assert paragraphs([" a ", "", "\n", "b\nc"]) == "a\n\nb\nc"
    assert paragraphs([]) == ""


def test_what_the_parser_takes_too_long_for_is_shown_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(markup, "PARSE_SECONDS", 0.0)
    assert to_whatsapp("**a** is [here](https://a.b)\n\n- b") == (
        "**a** is [here](https://a.b)\n\n- b"
    )
    assert to_speech("**a** is here: https://a.b/c\n\nand b") == "a is here:\nand b."


def test_long_markdown_is_read_in_pieces() -> None:
    """Each ends at a paragraph."""
    paragraph = f"**{'word ' * 300}end** of it."
    shown = to_whatsapp("\n\n".join([paragraph] * 10))
    assert shown == "\n\n".join([paragraph.replace("**", "*")] * 10)

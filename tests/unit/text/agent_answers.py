"""Answers as agents write them, in ten scripts, with all that a reader of each must find."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

PHRASES = {
    "Latin": ["Your order", "Straße", "naïve café", "total", "Año", "it's here"],
    "Arabic": ["السعر", "رقم الفاتورة", "مهم", "شكرًا لك", "الطلب"],
    "Hebrew": ["המחיר", "מספר הזמנה", "חשוב", "תודה"],
    "Devanagari": ["आपका ऑर्डर", "मूल्य", "धन्यवाद", "क्ष"],
    "Chinese": ["您的订单", "价格", "重要", "谢谢"],
    "Japanese": ["ご注文", "価格", "サポート", "ありがとう"],
    "Korean": ["주문", "가격", "중요", "감사합니다"],
    "Cyrillic": ["Ваш заказ", "цена", "спасибо", "ещё"],
    "Thai": ["คำสั่งซื้อ", "ราคา", "สำคัญ", "ขอบคุณ"],
    "Greek": ["Η παραγγελία", "τιμή", "σημαντικό", "ευχαριστώ"],
}
# Each looks like Markdown or HTML in part, and is none.
LITERALS = (
    "m***a@g***l.com j**n@x.com INV_2024_001 ~5 C# #1 x<y 10^6 +966-55-123-4567 a.b@example.com -5"
    " AT&T 1,024.50 2024-05-01 [x] (a) {b} 10:30 ½ → €5 snake_case_name Pix62***6304 138****1234"
    " 张*明 50% a/b №7 85㎡ ٣٫٥ c_d_e 2.0 =4 <3 >65 v1.2_3 \u200fא\u200e"
).split(" ")
LINKS = (
    "https://example.com/a_b_c?d=*e*&f=1 https://en.wikipedia.org/wiki/Foo_(bar)"
    " https://example.com/#x~y https://مثال.com/صفحة https://zh.wikipedia.org/wiki/中国"
).split(" ")


@dataclass
class AgentAnswer:
    """Markdown, and what has to be seen and heard of it, in order."""

    markdown: str = ""
    shown: list[str] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)

    def add(self, block: str, shown: list[str], spoken: list[str] | None = None) -> None:
        """Add a block; ``spoken`` is what is shown where it is not given."""
        self.markdown += f"{block}\n\n"
        self.shown += shown
        self.spoken += shown if spoken is None else spoken


@dataclass(frozen=True)
class _Writer:
    """Picks words of one script and the markup around them."""

    choose: random.Random
    script: str

    def phrase(self) -> str:
        return self.choose.choice(PHRASES[self.script])

    def literal(self) -> str:
        return self.choose.choice(LITERALS)

    def paragraph(self, answer: AgentAnswer) -> None:
        first, literal, last = self.phrase(), self.literal(), self.phrase()
        mark = self.choose.choice(["**", "*", "_", "~~", "__", "***", ""])
        answer.add(f"{first} {literal} {mark}{last}{mark}", [first, literal, last])

    def glued(self, answer: AgentAnswer) -> None:
        first, stop, last = self.phrase(), self.choose.choice(":!：！"), self.phrase()
        answer.add(f"**{first}{stop}**{last}", [f"{first}{stop}", last])

    def heading(self, answer: AgentAnswer) -> None:
        phrase, literal = self.phrase(), self.literal()
        answer.add(f"{'#' * self.choose.randint(1, 6)} {phrase} {literal}", [phrase, literal])

    def numbers(self, answer: AgentAnswer) -> None:
        start = self.choose.randint(2, 99_999)
        items = [(f"{start + 7 * number}.", self.phrase(), self.literal()) for number in range(3)]
        shown = [part for item in items for part in item]
        answer.add("\n".join(" ".join(item) for item in items), shown)

    def amounts(self, answer: AgentAnswer) -> None:
        items = [(self.choose.choice("+-"), str(self.choose.randint(0, 999)), self.phrase())]
        items += [(self.choose.choice("+-"), "SAR 5", self.phrase())]
        shown = [part for sign, amount, phrase in items for part in (f"{sign} {amount}", phrase)]
        answer.add("\n".join(" ".join(item) for item in items), shown)

    def bullets(self, answer: AgentAnswer) -> None:
        outer, inner = self.phrase(), self.phrase()
        answer.add(f"- **{outer}**\n  - {inner}\n- [x] {outer}", [outer, inner, "[x]", outer])

    def quote(self, answer: AgentAnswer) -> None:
        phrase, literal = self.phrase(), self.literal()
        answer.add(f"> {phrase}\n> {literal}", [phrase, literal])

    def link(self, answer: AgentAnswer) -> None:
        label, address, after = self.phrase(), self.choose.choice(LINKS), self.phrase()
        answer.add(f"[{label}]({address}) {after}", [label, address, after], [label, after])

    def address(self, answer: AgentAnswer) -> None:
        before, address, after = self.phrase(), self.choose.choice(LINKS), self.phrase()
        mark = self.choose.choice(["", "**", "_"])
        stop = self.choose.choice([" ", "，", "。", ", ", ")، "])
        answer.add(
            f"{before} {mark}{address}{mark}{stop}{after}",
            [before, address, after],
            [before, after],
        )

    def code(self, answer: AgentAnswer) -> None:
        phrase, literal = self.phrase(), self.literal()
        answer.add(f"{phrase}\n\n```\n{literal}\n```", [phrase, literal], [phrase])
        answer.add(f"`{literal}` {phrase}", [literal, phrase])

    def table(self, answer: AgentAnswer) -> None:
        title, literal, phrase = self.phrase(), self.literal(), self.phrase()
        rows = f"| {title} | - |\n|---|---|\n| {literal} | {phrase} |"
        answer.add(rows, [title, literal, phrase], [])

    def html(self, answer: AgentAnswer) -> None:
        first, second, literal = self.phrase(), self.phrase(), self.choose.choice(LITERALS[:4])
        block = f"<p><b>{first}</b> {literal}</p><ul class='x'><li>{second}</li></ul>"
        answer.add(block, [first, literal, second])


def write_answer(seed: int, script: str) -> AgentAnswer:
    """The same answer for the same seed."""
    writer = _Writer(random.Random(f"{seed} {script}"), script)
    blocks: list[Callable[[AgentAnswer], None]] = [
        writer.paragraph,
        writer.glued,
        writer.heading,
        writer.numbers,
        writer.amounts,
        writer.bullets,
        writer.quote,
        writer.link,
        writer.address,
        writer.code,
        writer.table,
        writer.html,
    ]
    answer = AgentAnswer()
    for write in writer.choose.choices(blocks, k=12):
        write(answer)
        # Two lists would be one.
        answer.add("—", ["—"], [])
    return answer

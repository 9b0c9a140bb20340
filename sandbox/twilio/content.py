"""Content templates: texts with quick replies or a list to pick from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A quick reply or a row of a list; ``id`` is what the bot gets when it is chosen."""

    id: str
    title: str
    description: str = ""


@dataclass(frozen=True)
class Content:
    """A template: its text, with either ``buttons`` or, behind ``list_button``, ``rows``."""

    body: str
    buttons: tuple[Choice, ...] = ()
    rows: tuple[Choice, ...] = ()
    list_button: str = ""

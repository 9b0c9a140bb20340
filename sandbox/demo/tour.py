"""A few messages in turn that show the session, the speech cache and a command."""

from __future__ import annotations

from sandbox.demo.screen import Screen
from sandbox.demo.single_demo import SingleDemo
from sandbox.demo.voice_notes import VoiceNote

# Each with what it shows; the first message is the voice note again.
AGAIN = "The same voice note again: the session is kept, and the speech comes from the cache."
TEXTS = (
    ("A text, which gets a text.", "How do I cancel an invoice?"),
    ("A word that the agent understands in this session only.", "yes"),
    ("A command, which the bridge itself answers.", "new conversation"),
    ("The same word in a new session, where it means nothing.", "yes"),
)


def run_tour(demo: SingleDemo, screen: Screen, note: VoiceNote) -> bool:
    """Send the messages one after the other; returns whether all went well."""
    screen.text(AGAIN, "bold")
    succeeded = demo.send_voice_note(note)
    for shown, text in TEXTS:
        screen.text(shown, "bold")
        screen.labelled("You write", text)
        succeeded = demo.send_text(text) and succeeded
    return succeeded

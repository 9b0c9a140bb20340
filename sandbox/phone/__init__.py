"""A phone in the browser: a page on which a WhatsApp user of the sandbox talks to the bridge."""

from sandbox.phone.desktop import open_page
from sandbox.phone.server import Phone

__all__ = ["PHONE_PORT", "Phone", "open_page"]

# The next one after those of the sandbox; a browser remembers per port who may use the microphone.
PHONE_PORT = 5105

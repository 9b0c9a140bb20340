"""A phone in the browser: a page on which a WhatsApp user of the sandbox talks to the bridge."""

from sandbox.phone.server import Phone

__all__ = ["Phone"]

"""The HTTP service: webhooks, voice notes, monitoring, and request checks."""

"""The HTTP service: webhooks, voice notes, monitoring, and what protects them."""

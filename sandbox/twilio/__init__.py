"""A stand-in for Twilio, with the WhatsApp users behind it."""

"""A stand-in for Twilio, and for the WhatsApp users who write to the bot."""

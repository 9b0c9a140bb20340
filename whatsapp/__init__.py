"""WhatsApp, through Twilio: sending, receiving, and delivery statuses."""

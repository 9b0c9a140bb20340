"""WhatsApp by way of Twilio: sending, receiving, and what became of it."""

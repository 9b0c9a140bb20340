"""A stand-in for ElevenLabs: speech to text and text to speech."""

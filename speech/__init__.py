"""ElevenLabs: transcription and synthesis."""

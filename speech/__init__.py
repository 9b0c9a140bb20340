"""ElevenLabs: hearing and speaking."""

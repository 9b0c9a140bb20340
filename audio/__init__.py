"""Sound: formats, ffmpeg and Ogg/Opus."""

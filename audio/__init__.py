"""Audio files: their formats, ffmpeg, and Ogg/Opus."""

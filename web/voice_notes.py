"""Serves the voice notes that Twilio fetches."""

from __future__ import annotations

from flask import Flask, Response, abort, request

from storage.outbound_messages import MP3, OGG, TOKEN, OutboundMessages


def add_voice_notes(app: Flask, outbound_messages: OutboundMessages) -> None:
    """Add ``GET /media/<token>.ogg`` and ``.mp3``. Only Twilio knows the random tokens."""

    @app.get("/media/<token>.<any(ogg, mp3):extension>")
    def voice_note(token: str, extension: str) -> Response:
        if not TOKEN.fullmatch(token):
            abort(404)
        media_type = MP3 if extension == "mp3" else OGG
        note = outbound_messages.voice_note(token, media_type)
        if note is None:
            abort(404)
        response = Response(note, content_type=media_type)
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["Content-Disposition"] = f"inline; filename=answer.{extension}"
        # Twilio fetches whole files, but proxies and players may ask for ranges.
        response.make_conditional(request, accept_ranges=True, complete_length=len(note))
        return response

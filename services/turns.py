"""What running turns takes, built and handed to each other."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

from audio.ffmpeg import Ffmpeg
from core.logs import ContextPool
from core.settings import Settings
from http_clients.sessions import requests_session
from http_clients.warming import Routes
from media import MediaDownloader, VoiceNoteLoader
from services.base import CommonServices
from speech.cache import SpeechCache
from speech.elevenlabs import Speech, Synthesizer
from speech.synthesis import StreamingSynthesis
from turns.pipeline import Pipeline
from turns.redelivery import Redelivery
from turns.runner import TurnRunner
from turns.worker import TurnWorker
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery


class TurnServices:
    """``worker`` runs turns; the others are what a process needs beside it."""

    def __init__(self, base: CommonServices) -> None:
        settings, metrics, store = base.settings, base.metrics, base.store
        threads, background = settings.TURN_THREADS, base.background
        ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, longest_seconds=settings.VOICE_NOTE_MAX_SECONDS)
        whatsapp = WhatsApp(
            settings=settings, metrics=metrics, width=threads, typing_width=threads * 2
        )
        # Transcriptions of as many turns, and as many pieces of speech.
        self.speech = Speech(
            settings=settings,
            ffmpeg=ffmpeg,
            metrics=metrics,
            breakers=base.breakers,
            width=threads * 2,
        )
        media = media_of(settings)
        self.routes: list[Routes] = [
            base.agent.routes,
            whatsapp.routes,
            media.routes,
            self.speech.routes,
        ]
        conversation = Pipeline(
            whatsapp=whatsapp,
            delivery=Delivery(
                claims=base.claims,
                whatsapp=whatsapp,
                outbound_messages=base.outbound_messages,
                metrics=metrics,
            ),
            claims=base.claims,
            sessions=base.sessions,
            answer_cache=base.answer_cache,
            prewarmer=base.prewarmer,
            voice_note_loader=VoiceNoteLoader(
                media=media,
                ffmpeg=ffmpeg,
                longest_seconds=settings.VOICE_NOTE_MAX_SECONDS,
            ),
            speech=self.speech,
            synthesis_of=partial(
                StreamingSynthesis,
                speech=_voice(base, self.speech, background),
                ffmpeg=ffmpeg,
                phrases=base.phrases,
                metrics=metrics,
                pool=ContextPool(threads, thread_name_prefix="speak"),
                longest=settings.SPEECH_MAX_CHARACTERS,
                piece_seconds=settings.TURN_DEADLINE,
            ),
            phrases=base.phrases,
            notices=base.notices,
            store=store,
            metrics=metrics,
            settings=settings,
            answers=ContextPool(threads, thread_name_prefix="answer"),
            background=background,
        )
        self.redelivery = Redelivery(
            delivery_statuses=base.delivery_statuses,
            outbound_messages=base.outbound_messages,
            whatsapp=whatsapp,
            ffmpeg=ffmpeg,
            metrics=metrics,
            log_key=settings.TWILIO_AUTH_TOKEN,
        )
        runner = TurnRunner(
            store=store,
            handler=conversation,
            notices=base.notices,
            log_key=settings.TWILIO_AUTH_TOKEN,
            patience=settings.CLOUD_PATIENCE,
        )
        self.worker = TurnWorker(claims=base.claims, runner=runner, threads=threads)


def _voice(base: CommonServices, speech: Speech, pool: Executor) -> Synthesizer:
    settings = base.settings
    if not settings.SPEECH_CACHE_BYTES:
        return speech
    return SpeechCache(
        speech=speech,
        metrics=base.metrics,
        most_bytes=settings.SPEECH_CACHE_BYTES,
        lifetime=settings.RETENTION_HOURS * 3600,
        # One process alone has all of it in memory.
        shared=base.audio_table if settings.DATABASE_URL else None,
        pool=pool,
    )


def media_of(settings: Settings) -> MediaDownloader:
    """Recordings of our account."""
    return MediaDownloader(
        session=requests_session(settings, width=settings.TURN_THREADS),
        api_url=settings.TWILIO_API_URL,
        account_sid=settings.TWILIO_ACCOUNT_SID,
        auth_token=settings.TWILIO_AUTH_TOKEN,
        media_hosts=settings.TWILIO_MEDIA_HOSTS,
        patience=settings.CLOUD_PATIENCE,
    )

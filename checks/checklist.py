"""All checks in their order, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import structlog

from checks.address import PublicAddress
from checks.database import check_database, check_workers
from checks.elevenlabs import ElevenLabs
from checks.environment import check_access
from checks.machine import check_ffmpeg, check_machine
from checks.report import Check, Checks
from checks.salesforce import Salesforce, SessionTrial
from checks.twilio import Twilio
from core.models import CheckResult
from core.redaction import describe_error
from core.settings import Settings
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from metrics import Metrics
from storage.database import Database
from storage.engine import connect_postgres

log = structlog.get_logger(__name__)

INTERNAL = Check("check", "This check")
# A router may send requests to a process that has just started a little late.
START_ATTEMPTS = 5


def offline_checks(settings: Settings) -> list[Checks]:
    return [
        partial(check_access, settings),
        partial(check_machine, settings),
        partial(check_ffmpeg, settings),
    ]


def full_checks(settings: Settings) -> list[Checks]:
    """For the command line; a session with the agent is started, and a word spoken."""
    session = requests_session(settings, connections=1)
    token = AccessToken(session=session, settings=settings, metrics=Metrics())
    trial = SessionTrial(settings, session=session, token=token)
    return [
        *offline_checks(settings),
        partial(_check_own_connection, settings),
        PublicAddress(settings, attempts=1).check,
        Twilio(settings, reads_messages=True).check,
        Salesforce(settings, token=token, try_session=trial).check,
        ElevenLabs(settings, spends_credits=True).check,
    ]


def start_checks(
    settings: Settings,
    *,
    database: Database | None,
    token: AccessToken,
    try_session: Callable[[], float | None],
) -> list[Checks]:
    """For a service that has just started; ``token`` and what ``try_session`` tries are its own.

    So are the connections of ``database``, as a small plan has none to spare. ``None`` is SQLite.

    Workers may start later, so they are left to ``GET /health``. Without KEEP_WARM no token is
    fetched before a message comes.
    """
    salesforce = Salesforce(settings, token=token, try_session=try_session)
    return [
        *offline_checks(settings),
        *([partial(check_database, database)] if database else []),
        PublicAddress(settings, attempts=START_ATTEMPTS).check,
        Twilio(settings, reads_messages=False).check,
        *([salesforce.check] if settings.KEEP_WARM else []),
        ElevenLabs(settings, spends_credits=False).check,
    ]


def run(groups: Sequence[Checks]) -> Iterator[CheckResult]:
    """The results, each as soon as it is known. A defect of a check is a result, too."""
    for checks in groups:
        try:
            yield from checks()
        except Exception as error:
            log.exception("A check has a defect")
            yield INTERNAL.fail(f"has a defect: {describe_error(error)}", "report it")


def _check_own_connection(settings: Settings) -> Iterator[CheckResult]:
    """The database and its workers, over a connection that is closed at the end."""
    if settings.DATABASE_URL:
        with closing(connect_postgres(settings.DATABASE_URL, connections=1)) as database:
            yield from check_database(database)
            yield from check_workers(database)

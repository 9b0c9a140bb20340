"""``flask --app app say``: sends one message through a live service, and follows it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from dotenv import dotenv_values

from cli.answer_follower import AnswerFollower
from cli.progress import Progress
from cli.sent_messages import ListUnavailable, SentMessages
from cli.service_metrics import ServiceMetrics
from cli.terminal import printable
from cli.voice_files import voice_note_address
from cli.webhook import Message, NotAccepted, post
from core.errors import SettingsError
from core.phone_numbers import whatsapp_address
from core.settings import Account, load_account

ENV_FILE = ".env"
# TURN_DEADLINE is 150 s too.
SECONDS = 150.0
NO_SENDER = "Whose message is it? Give your phone's number: --from +1… (with make: FROM=+1…)."
NO_ADDRESS = "Where is the service? Give its address: --url https://… (with make: URL=https://…)."
NO_SETTINGS = (
    "Settings come from the environment, from .env{absent}, or from --settings FILE (with make: "
    "ENV=FILE). For an app on Heroku: heroku config -s | flask --app app say … --settings -"
)


@click.command(short_help="Send a message through a live service, and follow it to the answer.")
@click.argument("text", nargs=-1)
@click.option("--voice", type=Path, metavar="FILE", help="Send this recording as a voice note.")
@click.option("--from", "sender", metavar="+1…", help="Your phone's number; the answer goes there.")
@click.option("--url", metavar="https://…", help="Where the service is; else its PUBLIC_URL.")
@click.option(
    "--settings",
    "source",
    metavar="FILE",
    help="What `heroku config -s` prints, - for standard input; else the environment and .env.",
)
@click.option("--timeout", default=SECONDS, show_default=True, help="Seconds to wait.")
def say(
    text: tuple[str, ...],
    voice: Path | None,
    sender: str | None,
    url: str | None,
    source: str | None,
    timeout: float,
) -> None:
    """Send TEXT (or "Hello") as your phone would, and wait until it has the answer.

    The answer really goes there, so that phone must have written to the service within 24 hours.
    The exit status is 0 if the answer was delivered, otherwise 1.
    """
    account, address = _read_options(sender, url, source)
    if address == account.TWILIO_WHATSAPP_FROM:
        raise click.ClickException("--from must be your own phone: nobody answers themselves.")
    if text and voice:
        raise click.ClickException("A message is a text or a voice note; leave one of them out.")
    message = Message(address, " ".join(text) or "Hello")
    if voice:
        message = Message(address, recording=_load_recording(voice))
    sys.exit(_send(message, account, timeout))


def _send(message: Message, account: Account, seconds: float) -> int:
    """Post the message and follow it; returns the exit status."""
    shown = f"“{message.text}”" if message.text else "a voice note"
    click.echo(f"Saying {shown} as {message.sender} to {account.PUBLIC_URL}/")
    try:
        progress = Progress(
            sent=SentMessages(account=account, to=message.sender),
            metrics=ServiceMetrics(account),
            say=click.echo,
        )
        sid = post(message, account)
    except ListUnavailable as error:
        raise click.ClickException(f"The answer could not be followed: {error}.") from None
    except NotAccepted as error:
        raise click.ClickException(printable(str(error))) from None
    progress.tell(f"accepted by the service, whose log calls it turn={sid}")
    follower = AnswerFollower(progress=progress, expects_voice=bool(message.recording))
    outcome = follower.follow(seconds)
    click.echo(outcome.sentence)
    return 0 if outcome.good else 1


def _read_options(sender: str | None, url: str | None, source: str | None) -> tuple[Account, str]:
    """The account and the sender's address. All that is missing is named at once."""
    problems = [] if sender else [NO_SENDER]
    try:
        account = _load_account(url, source)
        address = whatsapp_address(sender or "")
    except SettingsError as error:
        problems += _explain_settings(error)
    except ValueError as error:
        problems += [f"{sender} {error}."] if sender else []
    if problems:
        raise click.ClickException("\n".join(problems))
    return account, address


def _load_account(url: str | None, source: str | None) -> Account:
    given = _read_settings(source) if source else {}
    return load_account(given, env_file=ENV_FILE, url=url)


def _read_settings(source: str) -> dict[str, str]:
    """The settings in a file, or in standard input if ``source`` is ``-``."""
    try:
        with click.open_file(source, encoding="utf-8") as stream:
            values = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{source} cannot be read: {error}") from None
    given = {name: value for name, value in values.items() if value}
    if not given:
        raise click.ClickException(
            f"{source} holds no settings; heroku config -s prints those of an app."
        )
    # Another app's token must not go to this one.
    return {"METRICS_TOKEN": ""} | given


def _explain_settings(error: SettingsError) -> list[str]:
    lines = [f"{error}."]
    if error.faults.get("PUBLIC_URL", "").startswith("is missing"):
        lines.append(NO_ADDRESS)
    if any(name.startswith("TWILIO") for name in error.faults):
        absent = "" if Path(ENV_FILE).exists() else ", which is not there"
        lines.append(NO_SETTINGS.format(absent=absent))
    return lines


def _load_recording(file: Path) -> str:
    try:
        return voice_note_address(file)
    except ValueError as error:
        raise click.ClickException(str(error)) from None

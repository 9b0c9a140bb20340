"""``python -m cli.signed_message``: post a text to a live deployment, signed as Twilio does."""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

import requests
from dotenv import dotenv_values
from twilio.request_validator import RequestValidator

from core.errors import SettingsError
from core.settings import Account, load_account

# Twilio's own limits for a webhook, in seconds
# (docs/providers/twilio.md, "Waiting and retrying").
LIMITS = (5, 15)
ENV_FILE = ".env"


def main() -> int:
    """Post the message and print the result; returns 0 if the service accepted it, otherwise 1."""
    arguments = _parse_arguments()
    try:
        settings = _read_settings(arguments.settings)
        overrides = {"PUBLIC_URL": arguments.url} if arguments.url else {}
        account = load_account(settings | overrides, env_file=ENV_FILE)
    except (SettingsError, OSError) as error:
        print(error)
        return 1
    form = message(account, sender=arguments.sender, text=arguments.text)
    if form["From"] == account.TWILIO_WHATSAPP_FROM:
        print("--sender must be your own phone: the service does not answer itself.")
        return 1
    url = f"{account.PUBLIC_URL}/"
    print(f"Posting “{form['Body']}” as {form['From']} to {url}")
    accepted, result = _post(url, form, account, public_url=settings.get("PUBLIC_URL"))
    print(result)
    return 0 if accepted else 1


def message(account: Account, *, sender: str, text: str) -> dict[str, str]:
    """The form of a WhatsApp text with a new random SID.

    ``sender`` is a phone number, or an address that begins with ``whatsapp:``.
    """
    return {
        "MessageSid": f"SM{uuid.uuid4().hex}",
        "AccountSid": account.TWILIO_ACCOUNT_SID,
        "From": sender if sender.startswith("whatsapp:") else f"whatsapp:{sender}",
        "To": account.TWILIO_WHATSAPP_FROM,
        "Body": text,
        "NumMedia": "0",
        "MessageType": "text",
    }


def _post(
    url: str, form: dict[str, str], account: Account, *, public_url: str | None
) -> tuple[bool, str]:
    """Whether the service accepted the message, and the result in words.

    ``public_url`` is the PUBLIC_URL of the service's own settings, if they were given.
    """
    signature = RequestValidator(account.TWILIO_AUTH_TOKEN).compute_signature(url, form)
    try:
        answer = requests.post(
            url,
            data=form,
            headers={"X-Twilio-Signature": signature},
            timeout=LIMITS,
            allow_redirects=False,
        )
    except requests.exceptions.SSLError as error:
        return False, f"No answer: the certificate is not trusted ({error})."
    except requests.Timeout:
        return False, f"No answer within {LIMITS[1]} s; Twilio would give up too."
    except requests.RequestException as error:
        return False, f"No answer: {type(error).__name__}. Is the address right, and the app up?"
    if answer.status_code == 200 and "<Response" in answer.text:
        return _read_twiml(answer, form)
    return False, f"{answer.status_code}: {_explain(answer, url, public_url)}"


def _read_twiml(answer: requests.Response, form: dict[str, str]) -> tuple[bool, str]:
    """Whether the message was accepted; if not, the TwiML has the reason, as sent to the user."""
    if "<Message>" in answer.text:
        return False, f"200, but not accepted; the sender gets the reason at once: {answer.text}"
    return True, (
        "200: accepted. The answer goes to that phone by way of Twilio, which delivers it if the "
        f"phone wrote to the service within 24 h. In the log: turn={form['MessageSid']}"
    )


def _explain(answer: requests.Response, url: str, public_url: str | None) -> str:
    """Advice about a response that is not TwiML."""
    status = answer.status_code
    if status == 403:
        known = f", here {public_url}" if public_url else ""
        return (
            "refused: the signature is not the one the service computes. It must have\n"
            "- the same TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID as were used here;\n"
            f"- the address that was used here, {url}, as its PUBLIC_URL{known}."
        )
    if answer.is_redirect:
        return f"redirected to {answer.headers.get('Location')}; use that address."
    if status >= 500:
        return "the app is not up, or fails; heroku logs --tail says why."
    return "no bridge answers there; the address must be that of Twilio's webhook."


def _read_settings(source: str | None) -> dict[str, str | None]:
    """The settings in a file, or in standard input if ``source`` is ``-``."""
    if source is None:
        return {}
    if source == "-":
        return dotenv_values(stream=sys.stdin, interpolate=False)
    with Path(source).open(encoding="utf-8") as stream:
        return dotenv_values(stream=stream, interpolate=False)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cli.signed_message", description=__doc__)
    parser.add_argument("--url", help="where the service is; else its PUBLIC_URL")
    parser.add_argument("--sender", required=True, metavar="+1…", help="your phone's number")
    parser.add_argument("--text", default="Hello", help="what to say")
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="what `heroku config -s` prints, - from standard input; else .env and the environment",
    )
    arguments = parser.parse_args()
    if not arguments.sender.startswith(("+", "whatsapp:")):
        parser.error("the sender must be a number that begins with +, like +15550100")
    return arguments


if __name__ == "__main__":
    sys.exit(main())

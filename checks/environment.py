"""The settings, beyond what the start refuses."""

from __future__ import annotations

from collections.abc import Iterator

from checks.report import Check
from core.errors import SettingsError
from core.models import CheckResult
from core.settings import WHERE, Settings, is_public_url, load_settings, odd_names
from text.phrases import Phrases
from turns.public_questions import public_questions

SETTINGS = Check("settings", "Settings")
NAMES = Check("setting_names", "Names of settings")
PUBLIC_URL = Check("public_url", "PUBLIC_URL")
METRICS = Check("metrics_token", "METRICS_TOKEN")


def load_or_explain() -> tuple[Settings | None, list[CheckResult]]:
    """The settings, and what is to be said of them; ``None`` if the service cannot start."""
    try:
        settings = load_settings()
        _check_files(settings)
    except SettingsError as error:
        return None, [*_faults(error), *_check_names()]
    given = len(settings.model_fields_set)
    return settings, [SETTINGS.ok(f"all {given} that are set are right"), *_check_names()]


def check_access(settings: Settings) -> Iterator[CheckResult]:
    """Whether customers reach the service, and operators its pages."""
    if not settings.PUBLIC_URL:
        yield PUBLIC_URL.warn("is not set, so no message can arrive", WHERE["PUBLIC_URL"])
        return
    yield PUBLIC_URL.ok(settings.PUBLIC_URL)
    if settings.METRICS_TOKEN:
        yield METRICS.ok("opens /dashboard and /metrics")
    elif not is_public_url(settings.PUBLIC_URL):
        yield METRICS.ok("not needed at an address of this machine")
    else:
        yield METRICS.warn(
            "is not set, so /dashboard and /metrics are closed",
            "set it to a password, such as the output of `openssl rand -hex 32`",
        )


def _check_files(settings: Settings) -> None:
    """Raise ``SettingsError`` if a file that a setting is about refutes it."""
    Phrases(default=settings.DEFAULT_LANGUAGE)
    public_questions(settings)


def _faults(error: SettingsError) -> Iterator[CheckResult]:
    for name, problem in error.faults.items():
        hint = WHERE.get(name, "docs/configuration.md says what it means")
        yield Check(f"setting_{name.lower()}", name).fail(problem, hint)
    if not error.faults:
        hint = error.hint or "docs/configuration.md says what each setting means"
        yield SETTINGS.fail(error.reason, hint)


def _check_names() -> Iterator[CheckResult]:
    for name, (problem, hint) in odd_names().items():
        yield NAMES.warn(f"{name} {problem}", hint)

"""Tables in the documents that must agree with the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

import agentforce
from core import errors
from core.settings import Settings
from metrics import COUNTERS, STAGES
from text.phrases import CATALOGUE
from whatsapp.error_codes import ADVICE, TRANSIENT, UNPLAYABLE

ROOT = Path(__file__).resolve().parents[2]
# A row of a table in docs/configuration.md: the setting and its default.
SETTING = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| ([^|]+) \|", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
# Where a log line in docs/operating.md goes on with what differs from case to case.
VARYING = re.compile(r"…|reason=|NAME|\(CODE")
# An error code of Twilio.
ERROR_CODE = re.compile(r"\b\d{5}\b")
# A log line that begins with the class of an error behind these words.
FAILURE = re.compile(r"(?:❌ Turn failed|❌ Answer not sent|Voice note not sent): (\w+)")
# Written by Python itself.
NOT_OURS = {"Timeout (0:00:30)!"}
# Folders whose code is not the service's.
BESIDE = {"sandbox", "bench", "tests"}

SETTINGS = Settings.model_fields


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def documented_defaults() -> dict[str, str]:
    rows = SETTING.findall(read("docs/configuration.md"))
    assert len(rows) == len(dict(rows)), "a setting is listed twice"
    return dict(rows)


def default_in_words(field: FieldInfo) -> str:
    """The default as docs/configuration.md writes it."""
    default = field.default
    if field.is_required():
        return "required"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"{default:g}" if isinstance(default, float) else str(default)
    if isinstance(default, tuple):
        default = ", ".join(default)
    return f"`{default}`" if default else "none"


def test_each_setting_is_documented_and_each_documented_setting_exists() -> None:
    assert documented_defaults().keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_documented_default_is_that_of_the_code(name: str) -> None:
    assert documented_defaults().get(name) == default_in_words(SETTINGS[name])


def test_the_readme_names_ten_settings_that_exist() -> None:
    named = [name for name, _ in SETTING.findall(section("README.md", "Settings"))]
    assert len(named) == 10
    assert set(named) <= SETTINGS.keys()


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].is_required()])
def test_each_required_setting_is_in_what_operators_copy(name: str) -> None:
    assert re.search(rf"^{name}=", read(".env.example"), re.MULTILINE)
    assert name in json.loads(read("app.json"))["env"]


def section(page: str, heading: str) -> str:
    return read(page).partition(f"## {heading}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The first cell of each row of its tables that begins with code."""
    return re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)


def log_lines() -> set[str]:
    """The lines that docs/operating.md explains; behind an "or" stands only how one may end."""
    cells = first_cells(section("docs/operating.md", "Log lines"))
    return {line for cell in cells for line in CODE.findall(cell.partition(" or ")[0])}


def service_files() -> list[Path]:
    """All modules of the service; those of migrations are named by their numbers."""
    packages = sorted({file.parent for file in ROOT.glob("*/__init__.py")})
    folders = [ROOT, *(each for each in packages if each.name not in BESIDE)]
    found = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    return [file for file in found if file.name != "__init__.py"]


@pytest.fixture(scope="module")
def code() -> str:
    """All of the service, as one text."""
    return "".join(file.read_text(encoding="utf-8") for file in service_files())


@pytest.mark.parametrize("line", sorted(log_lines() - NOT_OURS))
def test_each_explained_log_line_is_written_by_the_service(line: str, code: str) -> None:
    if found := FAILURE.match(line):
        assert hasattr(errors, found[1]) or hasattr(agentforce, found[1])
        return
    beginning = VARYING.split(line)[0].strip(" :(")
    assert len(beginning) > 8
    assert beginning in code


def test_each_figure_is_explained() -> None:
    cells = first_cells(section("docs/operating.md", "Metrics"))
    assert {name for cell in cells for name in CODE.findall(cell)} == {*STAGES, *COUNTERS}


def documented_codes(page: str, heading: str, *, with_words: str = "") -> set[int]:
    """The error codes in the first cells of the rows that contain these words."""
    rows = re.findall(r"^\|([^|]+)\|(.+)$", section(page, heading), re.MULTILINE)
    cells = [first for first, others in rows if with_words in others]
    return {int(code) for cell in cells for code in ERROR_CODE.findall(cell)}


def test_each_delivery_error_with_advice_is_explained() -> None:
    assert documented_codes("docs/operating.md", "Delivery errors") == ADVICE.keys()
    assert documented_codes("docs/providers/twilio.md", "Error codes") >= ADVICE.keys()


def test_delivery_errors_after_which_a_message_is_sent_again_are_marked() -> None:
    resent = documented_codes("docs/operating.md", "Delivery errors", with_words="sent once more")
    assert resent == {*TRANSIENT, *UNPLAYABLE}


def test_each_language_of_our_own_sentences_is_documented() -> None:
    row = read("docs/configuration.md").partition("| `DEFAULT_LANGUAGE` |")[2].partition("\n")[0]
    languages = tomllib.loads(CATALOGUE.read_text(encoding="utf-8")).keys()
    assert set(re.findall(r"`([a-z]{2})`", row)) == languages


def test_each_file_of_the_service_is_in_the_architecture() -> None:
    """Once, in the table of files."""
    cells = first_cells(section("docs/architecture.md", "Files"))
    named = sorted(name for cell in cells for name in CODE.findall(cell))
    assert named == sorted(str(file.relative_to(ROOT)) for file in service_files())

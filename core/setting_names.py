"""The names of settings: former ones, and ones that are probably misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

# Former names that are still read, with the current ones.
RENAMED = {"CLOUD_PATIENCE": "PROVIDER_TIMEOUT_FACTOR"}
# A name is taken for a misspelt one of ours from this similarity on (difflib's ratio).
SIMILARITY = 0.83
# Variables of the platform, of libraries and of other programs, which resemble ours.
_NOT_OURS = re.compile(r"HEROKU_.*|.*_CERT_(FILE|DIR)|.*_BUNDLE|TWILIO_API_KEY|.*[^A-Z_].*")


def find_misspelt(given: Collection[str], ours: Collection[str]) -> dict[str, str]:
    """The names in ``given`` that are almost a setting's, with the names that are meant."""
    known = {*ours, *RENAMED}
    found = {}
    for name in sorted(set(given) - known):
        meant = difflib.get_close_matches(name, known, n=1, cutoff=SIMILARITY)
        if meant and not _NOT_OURS.fullmatch(name):
            found[name] = meant[0]
    return found

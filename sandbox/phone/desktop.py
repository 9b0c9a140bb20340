"""Opens the page in the browser of whoever sits at this computer."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_page(url: str) -> None:
    """Do nothing without a desktop, or if nobody looks at the terminal."""
    has_desktop = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if has_desktop and sys.stdout.isatty():
        webbrowser.open(url)

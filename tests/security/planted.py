"""Services with a fault planted in them, or with less patience than they have."""

from __future__ import annotations

import sys

_RUN = {
    "web": ("runpy.run_module('gunicorn', run_name='__main__')", "gunicorn", "app:create_app()"),
    "worker": ("runpy.run_path('worker.py', run_name='__main__')", "worker.py"),
}


def planted(code: str, kind: str = "web") -> list[str]:
    """The command of a process of this kind that runs ``code`` first."""
    run, *arguments = _RUN[kind]
    # Before anything is imported that waits, as worker.py does it.
    patched = "from gevent import monkey; monkey.patch_all()\n" if kind == "worker" else ""
    # As Python leaves it to a program: its name comes first.
    whole = f"{patched}import runpy, sys\n{code}\nsys.argv.pop(0)\n{run}"
    return [sys.executable, "-c", whole, *arguments]

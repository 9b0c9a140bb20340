"""Commands of processes that run code of a test first: injected faults, shorter times."""

from __future__ import annotations

import sys

_RUN = {
    "web": ("runpy.run_module('gunicorn', run_name='__main__')", "gunicorn", "app:create_app()"),
    "worker": ("runpy.run_path('worker.py', run_name='__main__')", "worker.py"),
}


def planted(code: str, kind: str = "web") -> list[str]:
    """The command of a process of this kind that runs ``code`` before the service's own."""
    run, *arguments = _RUN[kind]
    # Like worker.py, patch before anything that blocks is imported.
    patched = "from gevent import monkey; monkey.patch_all()\n" if kind == "worker" else ""
    # After the pop, sys.argv begins with the program's name, as Python leaves it.
    whole = f"{patched}import runpy, sys\n{code}\nsys.argv.pop(0)\n{run}"
    return [sys.executable, "-c", whole, *arguments]

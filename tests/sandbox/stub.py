"""A stub of the Procfile's processes, without a bridge.

``web --bind HOST:PORT`` answers with its PID; ``worker`` logs that it is ready; ``child`` is a
worker with a child process; ``dies`` exits at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMAND = [sys.executable, __file__]


class _PidHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    kind, *arguments = sys.argv[1:]
    if kind == "web":
        host, _, port = arguments[1].partition(":")
        ThreadingHTTPServer((host, int(port)), _PidHandler).serve_forever()
    if kind == "child":
        subprocess.Popen(["sleep", "600"])
    if kind == "dies":
        sys.exit("it has no settings")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print("Worker ready on", os.environ.get("DATABASE_URL"))
    # Python would not notice a signal that arrives just before it pauses without an end.
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()

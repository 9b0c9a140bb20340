"""The configuration of gunicorn, with the reason for each number."""

import os
import socket
import sys

from gunicorn.glogging import Logger

# Heroku sets PORT. Elsewhere a router on this machine is in front, and gunicorn's default address
# is right. The IPv6 address accepts IPv4 too, if the machine has both.
if port := os.environ.get("PORT", "").strip():
    if not port.isdecimal() or int(port) > 65535:
        # gunicorn listens before the settings are read, which would say the same.
        sys.exit("Cannot start: PORT must be a number up to 65535.")
    bind = f"{'[::]' if socket.has_dualstack_ipv6() else '0.0.0.0'}:{port}"

# One process, whose threads run the turns: without DATABASE_URL only one process may use STATE_DIR.
workers = 1
# Green threads, because a dyno allows 256 processes and threads, and 200 turns need more
# (docs/providers/heroku.md, "Dynos").
worker_class = "gevent"
# Each connection takes a green thread. Even a thousand slow clients leave enough for Twilio.
worker_connections = 4000

# Seconds. Heroku's router keeps idle connections for 90 s, and loses a request if we close its
# connection before (docs/providers/heroku.md, "Router"). This is also the limit for the head of a
# request.
keepalive = 100

# Heroku kills the process 30 s after SIGTERM. Running turns get 24 of them, open connections one
# more.
TURN_SECONDS = 24.0
CONNECTION_SECONDS = 1
graceful_timeout = 29

# Seconds after which a worker without a heartbeat is killed. core/watchdog.py acts sooner, and also
# during the start.
timeout = 40

# Twilio may open many connections at once; the kernel queues those that are not accepted yet.
backlog = 2048

# No socket in the home directory for managing the server: nobody uses it.
control_socket_disable = True

# Heroku sets FORWARDED_ALLOW_IPS=* for all Python apps, which lets any client set the path and the
# scheme by headers. We do not need them from a router
# (docs/providers/heroku.md, "What the platform sets").
forwarded_allow_ips = ""
forwarder_headers = ""


class NoAccessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Writes no access log, which would show the secret addresses of voice notes."""

    def access(self, *_: object) -> None:
        """Does nothing."""


# ``accesslog = None`` would not be enough: Heroku sets GUNICORN_CMD_ARGS="--access-logfile -",
# which gunicorn applies after this file.
logger_class = NoAccessLogger


def on_starting(server):  # type: ignore[no-untyped-def]
    """Protect gunicorn's first process, whose environment has the secrets too."""
    from core.core_dumps import forbid_dumping

    if os.environ.get("WEB_CONCURRENCY", "1") != "1":
        server.log.info("WEB_CONCURRENCY is ignored: one process serves, on green threads")

    if os.environ.get("DUMPABLE") != "true":
        forbid_dumping()


def post_fork(server, worker):  # type: ignore[no-untyped-def]
    """Let SIGTERM end the new process until it has handlers of its own.

    Those of gunicorn's first process, which it inherits, do nothing here; the first process would
    wait for the end until its ``graceful_timeout``.
    """
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def post_worker_init(worker):  # type: ignore[no-untyped-def]
    """Start the service; on SIGTERM finish the turns, while voice notes can still be fetched."""
    import signal

    import gevent

    from core import watchdog

    if not worker.alive:
        # SIGTERM came meanwhile: no turn is begun that would be cut off at once.
        sys.exit(0)
    watchdog.start()
    # gunicorn would wait for idle connections too, and a router always keeps some.
    worker.cfg.set("graceful_timeout", CONNECTION_SECONDS)
    services = worker.app.callable.extensions["bridge"]
    stop_worker = worker.handle_exit

    def finish() -> None:
        try:
            if not services.close(TURN_SECONDS):
                worker.log.warning("Stopping with turns unfinished; the next start takes them up")
        finally:
            stop_worker(signal.SIGTERM, None)

    def stop(*_: object) -> None:
        # The signal may come twice: from the platform, and from gunicorn's first process.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # A signal handler may run inside the event loop, where blocking is not allowed.
        gevent.spawn(finish)

    signal.signal(signal.SIGTERM, stop)
    services.start()
    services.settle()


def worker_exit(server, worker):  # type: ignore[no-untyped-def]
    """Exit at once: Python would wait for the threads of turns that did not finish."""
    import logging

    if worker.booted:
        logging.shutdown()
        os._exit(0)

"""How gunicorn runs the service; the reason stands by each number."""

import os
import socket

from gunicorn.glogging import Logger

# Heroku names the port; elsewhere a router on this machine is in front. IPv6's any address is
# IPv4's as well, where the machine has both.
if "PORT" in os.environ:
    bind = f"{'[::]' if socket.has_dualstack_ipv6() else '0.0.0.0'}:{os.environ['PORT']}"

# One process, whose own threads run the turns: without DATABASE_URL it alone holds STATE_DIR.
workers = 1
# Green threads: a dyno allows 256 processes and threads, and 200 turns wait in more places
# (docs/providers/heroku.md, "Dynos").
worker_class = "gevent"
# Each takes a green thread; a thousand of slow clients leave room for Twilio's.
worker_connections = 4000

# Heroku's router keeps idle connections for 90 s, and loses a request on one that is closed then
# (docs/providers/heroku.md, "Router").
# It is also how long the head of a request may take.
keepalive = 100

# Heroku kills 30 s after SIGTERM; the running turns get 24 of them, open connections a moment more.
TURN_SECONDS = 24.0
CONNECTION_SECONDS = 1
graceful_timeout = 29

# How long the worker's loop may stand still, from its first beat on; core/watchdog.py is more
# exact.
timeout = 40

# Twilio posts a burst at once; the kernel queues what is not accepted yet.
backlog = 2048

# Nobody manages the server through a socket in the home directory.
control_socket_disable = True

# Heroku sets FORWARDED_ALLOW_IPS=* for all Python apps, and then gunicorn takes the path and the
# scheme from headers of whoever sends them. We need neither from a router
# (docs/providers/heroku.md, "What the platform sets").
forwarded_allow_ips = ""
forwarder_headers = ""


class NoAccessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Writes nothing of requests: their lines would show voice notes' addresses and clients'."""

    def access(self, *_: object) -> None:
        """Write no line."""


# ``accesslog = None`` would not do: Heroku sets GUNICORN_CMD_ARGS="--access-logfile -", and
# gunicorn applies that after this file.
logger_class = NoAccessLogger


def on_starting(server):  # type: ignore[no-untyped-def]
    """Close this process too, whose environment has the secrets as well."""
    from core.core_dumps import forbid_dumping

    if os.environ.get("WEB_CONCURRENCY", "1") != "1":
        server.log.info("WEB_CONCURRENCY is ignored: one process serves, on green threads")

    if os.environ.get("DUMPABLE") != "true":
        forbid_dumping()


def post_worker_init(worker):  # type: ignore[no-untyped-def]
    """Take up turns; on SIGTERM let them finish, still serving their voice notes to Twilio."""
    import signal

    import gevent

    from core import watchdog

    watchdog.start()
    # Idle connections count as open ones: a router keeps some.
    worker.cfg.set("graceful_timeout", CONNECTION_SECONDS)
    services = worker.app.callable.extensions["bridge"]
    leave = worker.handle_exit

    def finish() -> None:
        try:
            if not services.close(TURN_SECONDS):
                worker.log.warning("Stopping with turns unfinished; the next start takes them up")
        finally:
            leave(signal.SIGTERM, None)

    def stop(*_: object) -> None:
        # A platform may signal all processes, and gunicorn's first one passes it on.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # A handler may interrupt the loop itself, where nothing may wait.
        gevent.spawn(finish)

    signal.signal(signal.SIGTERM, stop)
    services.start()
    services.settle()


def worker_exit(server, worker):  # type: ignore[no-untyped-def]
    """Turns that were cut off still hold their threads, for which Python would wait."""
    import logging

    if worker.booted:
        logging.shutdown()
        os._exit(0)

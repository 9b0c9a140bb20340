"""How gunicorn runs the service; the reason stands by each number."""

from gunicorn.glogging import Logger

# One process, whose own threads run the turns: without DATABASE_URL it alone holds STATE_DIR.
workers = 1
# gthread, whose threads get whole requests only.
worker_class = "web_worker.WebWorker"

# A webhook is acknowledged within milliseconds and a voice note served from the database, so
# these threads never wait for a cloud. 32 of them also outlast slow readers of /media.
threads = 32

# Heroku's router keeps connections to a dyno open; so do we, for longer than a lull between turns.
keepalive = 75

# Heroku kills 30 s after SIGTERM; the running turns get 25 of them.
TURN_SECONDS = 25.0
graceful_timeout = 28

# The longest the gthread worker may go without a heartbeat; requests are not limited by it.
timeout = 30

# Twilio posts a burst at once; the kernel queues what 32 threads have not picked up yet.
backlog = 2048

# Nobody manages the server through a socket in the home directory.
control_socket_disable = True

# Heroku sets FORWARDED_ALLOW_IPS=* for all Python apps, and then gunicorn takes the path and the
# scheme from headers of whoever sends them. We need neither from a router.
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
    """Secrets lie in the environment of gunicorn's first process as well."""
    import os

    from dumping import forbid_dumping

    if os.environ.get("DUMPABLE") != "true":
        forbid_dumping()


def post_worker_init(worker):  # type: ignore[no-untyped-def]
    """Take up turns; on SIGTERM let them finish, still serving their voice notes to Twilio."""
    import signal
    import threading

    import watchdog

    watchdog.start()
    parts = worker.app.callable.extensions["bridge"]
    leave = worker.handle_exit

    def finish() -> None:
        try:
            if not parts.close(TURN_SECONDS):
                worker.log.warning("Stopping with turns unfinished; the next start takes them up")
        finally:
            leave(signal.SIGTERM, None)

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=finish).start())
    parts.start()
    parts.base.settle()

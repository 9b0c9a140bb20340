"""Requests to an address that may be of anything: the whole response is limited."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import requests

from http_clients.bodies import limit_answer_time


def request(
    method: str,
    url: str,
    *,
    seconds: float,
    connect_seconds: float | None = None,
    session: requests.Session | None = None,
    **options: Any,
) -> requests.Response:
    """Like ``requests.request``, but without redirects, and with ``seconds`` for all of it.

    ``connect_seconds`` is a shorter limit for the connection, ``session`` the one to use.
    A response that is larger than ``http_clients.bodies`` allows is an error, too. Raises
    ``requests.RequestException``.
    """
    answer: Future[requests.Response] = Future()

    def run() -> None:
        try:
            answer.set_result(
                (session or requests).request(
                    method,
                    url,
                    timeout=(connect_seconds or seconds, seconds),
                    stream=True,
                    allow_redirects=False,
                    hooks={"response": limit_answer_time(seconds)},
                    **options,
                )
            )
        except Exception as error:
            answer.set_exception(error)

    # The limits of requests are for each read, and no hook sees the headers arrive. A thread that
    # still reads ends with the process.
    threading.Thread(target=run, name=f"{method} {url}", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        raise requests.ReadTimeout(f"no whole answer in {seconds:g} s") from None

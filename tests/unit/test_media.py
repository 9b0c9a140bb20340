"""Fetching recordings from the stand-in for Twilio and its CDN."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask, Response
from hypothesis import given
from hypothesis import strategies as st

import media as media_module
from core.errors import MediaError, MediaForbidden, MediaMissing, MediaTooLarge
from http_clients.bodies import read_chunks
from media import MediaDownloader
from metrics import Metrics
from sandbox import CREDENTIALS, Sandbox
from sandbox.faults import Fault
from sandbox.loopback import LoopbackServer
from sandbox.speech.fixture import FixtureSpeech
from sandbox.twilio.media import Ready

USER = "whatsapp:+14155550100"
ACCOUNT, TOKEN = CREDENTIALS["TWILIO_ACCOUNT_SID"], CREDENTIALS["TWILIO_AUTH_TOKEN"]
RECORDING = b"OggS" + bytes(range(256)) * 40
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/MM1/Media/ME1"


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    started.recorder.clear()
    started.faults.clear()
    monkeypatch.setattr(media_module, "RETRY_DELAYS", (0.0, 0.0, 0.0))
    return started


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def fetcher(sandbox: Sandbox, session: requests.Session, **changes: object) -> MediaDownloader:
    options: dict[str, object] = {
        "session": session,
        "metrics": Metrics(),
        "api_url": sandbox.twilio.url,
        "account_sid": ACCOUNT,
        "auth_token": TOKEN,
        "media_hosts": (sandbox.twilio.cdn.host,),
    }
    return MediaDownloader(**(options | changes))  # type: ignore[arg-type]


@pytest.fixture
def media(sandbox: Sandbox, session: requests.Session) -> MediaDownloader:
    return fetcher(sandbox, session)


def recorded(sandbox: Sandbox, audio: bytes = RECORDING, calls: int = 0) -> str:
    """The ``MediaUrl0`` of a new voice note, missing for the first ``calls`` tries."""
    return sandbox.twilio.forms.voice(USER, audio, ready=Ready(calls=calls))["MediaUrl0"]


def calls(sandbox: Sandbox) -> list[str]:
    return [call.name for call in sandbox.recorder.calls("twilio")]


def test_a_recording_is_fetched_over_the_redirect(sandbox: Sandbox, media: MediaDownloader) -> None:
    assert media.download(recorded(sandbox)) == RECORDING
    assert calls(sandbox) == ["media", "media_cdn"]
    assert not sandbox.recorder.violations


def test_a_recording_within_its_address_is_not_fetched(
    sandbox: Sandbox, media: MediaDownloader
) -> None:
    address = f"data:audio/ogg;base64,{base64.b64encode(RECORDING).decode()}"
    assert media.download(address) == RECORDING
    assert calls(sandbox) == []
    with pytest.raises(MediaError, match="not base64"):
        media.download(f"{address[:-1]}!")


def test_connections_are_used_again(sandbox: Sandbox, media: MediaDownloader) -> None:
    """Also after a redirect, and after a recording was not there yet."""
    before = sandbox.twilio.connections, sandbox.twilio.cdn.connections
    for missing in (0, 2):
        assert media.download(recorded(sandbox, calls=missing)) == RECORDING
    after = sandbox.twilio.connections, sandbox.twilio.cdn.connections
    assert after == (before[0] + 1, before[1] + 1)


def test_credentials_go_to_the_api_only(
    sandbox: Sandbox, media: MediaDownloader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even those of a .netrc file go to the CDN."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert media.download(recorded(sandbox)) == RECORDING
    api, cdn = sandbox.recorder.calls("twilio")
    expected = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert api.headers["Authorization"] == f"Basic {expected}"
    assert "Authorization" not in cdn.headers
    assert not sandbox.recorder.violations


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_recording_that_is_not_there_yet_is_tried_again(
    sandbox: Sandbox, media: MediaDownloader, missing: int
) -> None:
    assert media.download(recorded(sandbox, calls=missing)) == RECORDING
    assert calls(sandbox).count("media") == missing + 1


def test_a_recording_that_never_comes_is_missing(sandbox: Sandbox, media: MediaDownloader) -> None:
    with pytest.raises(MediaMissing, match="404"):
        media.download(recorded(sandbox, calls=99))
    assert calls(sandbox) == ["media"] * 4


def test_the_schedule_is_half_a_second_then_one_then_two() -> None:
    assert media_module.RETRY_DELAYS == (0.5, 1.0, 2.0)


@pytest.mark.parametrize("call", ["media", "media_cdn"])
@pytest.mark.parametrize(
    "fault", [("status", 429), ("status", 500), ("status", 404), ("reset", 0), ("vanish", 0)]
)
def test_passing_faults_are_survived(
    sandbox: Sandbox, media: MediaDownloader, call: str, fault: tuple[str, int]
) -> None:
    kind, status = fault
    sandbox.faults.add(Fault("twilio", call, kind, status=status or 500))  # type: ignore[arg-type]
    assert media.download(recorded(sandbox)) == RECORDING


def test_half_a_recording_is_none(sandbox: Sandbox, media: MediaDownloader) -> None:
    """A body cut in the middle must not pass for a shorter one."""
    sandbox.faults.add(Fault("twilio", "media_cdn", "cut"))
    assert media.download(recorded(sandbox)) == RECORDING
    sandbox.faults.add(Fault("twilio", "media_cdn", "cut", times=None))
    with pytest.raises(MediaMissing, match="broke off"):
        media.download(recorded(sandbox))


@pytest.mark.parametrize("status", [400, 401, 403, 410])
@pytest.mark.parametrize("call", ["media", "media_cdn"])
def test_a_refusal_is_final(
    sandbox: Sandbox, media: MediaDownloader, call: str, status: int
) -> None:
    sandbox.faults.add(Fault("twilio", call, "status", status=status, times=None))
    with pytest.raises(MediaError, match=str(status)) as caught:
        media.download(recorded(sandbox))
    assert not caught.value.retryable
    assert calls(sandbox).count(call) == 1


def test_a_wrong_token_is_refused_once_and_pointed_at(
    sandbox: Sandbox, session: requests.Session
) -> None:
    with pytest.raises(MediaError, match=r"401.*TWILIO_AUTH_TOKEN") as caught:
        fetcher(sandbox, session, auth_token="wrong").download(recorded(sandbox))
    assert calls(sandbox) == ["media"]
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_recording_up_to_the_limit_is_taken(
    sandbox: Sandbox, media: MediaDownloader, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(media_module, "MAX_BYTES", 1000)
    assert len(media.download(recorded(sandbox, bytes(size)))) == size


def test_a_larger_recording_is_refused_and_not_tried_again(
    sandbox: Sandbox, media: MediaDownloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_module, "MAX_BYTES", 1000)
    with pytest.raises(MediaTooLarge):
        media.download(recorded(sandbox, bytes(1001)))
    assert calls(sandbox) == ["media", "media_cdn"]


def test_a_bomb_is_not_unpacked(
    sandbox: Sandbox, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No compression is asked for; what comes compressed all the same counts unpacked."""
    monkeypatch.setattr(media_module, "MAX_BYTES", 100_000)
    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < media_module.MAX_BYTES
    app = Flask("bomb")
    app.add_url_rule(PATH, view_func=lambda: Response(bomb, headers={"Content-Encoding": "gzip"}))
    server = LoopbackServer(app=app, name="bomb")
    server.start()
    try:
        away = fetcher(sandbox, session, api_url=f"http://127.0.0.1:{server.port}")
        with pytest.raises(MediaTooLarge):
            away.download(f"http://127.0.0.1:{server.port}{PATH}")
    finally:
        server.stop()


def test_no_compression_is_asked_for(sandbox: Sandbox, media: MediaDownloader) -> None:
    media.download(recorded(sandbox))
    encodings = {call.headers["Accept-Encoding"] for call in sandbox.recorder.calls("twilio")}
    assert encodings == {"identity"}


def test_a_peer_that_trickles_does_not_hold_the_turn(
    sandbox: Sandbox, media: MediaDownloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is up long before the body is complete."""
    monkeypatch.setattr(media_module, "TOTAL_TIMEOUT", 0.1)
    got: list[int] = []

    def counted(response: requests.Response, timeout: float, **limit: int) -> Iterator[bytes]:
        for chunk in read_chunks(response, timeout, **limit):
            got.append(len(chunk))
            yield chunk

    monkeypatch.setattr(media_module, "read_chunks", counted)
    sandbox.faults.add(Fault("twilio", "media_cdn", "trickle", seconds=0.02))
    with pytest.raises(MediaError, match="in time"):
        media.download(recorded(sandbox, bytes(100)))
    assert sum(got) < 100


FOREIGN = [
    "",
    "x",
    "http://[",
    "http://[::1",
    "//evil.example.com" + PATH,
    "https://evil.example.com" + PATH,
    "https://api.twilio.com.evil.example.com" + PATH,
    "https://api.twilio.com@evil.example.com" + PATH,
    "https://evil.example.com\\@api.twilio.com" + PATH,
    "https://evil.example.com#@api.twilio.com" + PATH,
    "https://user@api.twilio.com" + PATH,
    "https://api.twilio.com:444" + PATH,
    "https://xapi.twilio.com" + PATH,
    "https://api.a.b.c.twilio.com" + PATH,
    "https://api-evil.twilio.com" + PATH,
    "http://api.twilio.com" + PATH,
    "ftp://api.twilio.com" + PATH,
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "https://api.twilio.com/",
    "https://api.twilio.com/2010-04-01/Accounts/ACother/Messages/MM1/Media/ME1",
    f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
    f"https://api.twilio.com{PATH}.json",
    f"https://api.twilio.com{PATH}/../../../Messages.json",
    f"https://api.twilio.com/x{PATH}",
    f"https://api.twilio.com{PATH}%2f..",
    f"https://api.twilio.com{PATH};x",
]


class Unreachable(requests.Session):
    """Whoever asks for anything has failed already."""

    def request(self, *arguments: object, **options: object) -> requests.Response:
        raise AssertionError(f"a request was made: {arguments}")


@pytest.mark.parametrize("url", FOREIGN)
def test_addresses_that_are_not_ours_are_refused_without_a_request(url: str) -> None:
    media = MediaDownloader(
        session=Unreachable(),
        metrics=Metrics(),
        api_url="https://api.twilio.com",
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        media_hosts=("mms.twiliocdn.com",),
    )
    with pytest.raises(MediaForbidden):
        media.download(url)


@pytest.mark.parametrize("host", ["api.twilio.com", "api.dublin.ie1.twilio.com"])
def test_twilio_and_its_regions_are_asked(host: str) -> None:
    media = MediaDownloader(
        session=Unreachable(),
        metrics=Metrics(),
        api_url="https://api.twilio.com",
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        media_hosts=(),
    )
    with pytest.raises(AssertionError, match="a request was made"):
        media.download(f"https://{host}{PATH}")


@given(st.text())
def test_any_other_address_is_refused(url: str) -> None:
    media = MediaDownloader(
        session=Unreachable(),
        metrics=Metrics(),
        api_url="https://api.twilio.com",
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        media_hosts=(),
    )
    with pytest.raises(MediaForbidden):
        media.download(url)


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example.com/x",
        "//evil.example.com/x",
        "file:///etc/passwd",
        "/2010-04-01/Accounts.json",
        "data:audio/ogg;base64,T2dnUw==",
        "http://127.0.0.1:1/x",
        "https://s3-external-1.amazonaws.com/other-bucket/x",
        "https://s3-external-1.amazonaws.com/media.twiliocdn.com.evil/x",
    ],
)
def test_redirects_to_foreign_hosts_are_not_followed(
    sandbox: Sandbox, session: requests.Session, location: str
) -> None:
    hosts = (sandbox.twilio.cdn.host, "s3-external-1.amazonaws.com")
    fault = Fault("twilio", "media", "status", status=307, headers={"Location": location}, body="")
    sandbox.faults.add(fault)
    with pytest.raises(MediaForbidden):
        fetcher(sandbox, session, media_hosts=hosts).download(recorded(sandbox))
    assert calls(sandbox) == ["media"]


@pytest.mark.parametrize("host", ["s3-external-1.amazonaws.com", "{cdn}"])
@pytest.mark.parametrize(
    "path",
    [
        "/media.twiliocdn.com/../other-bucket/x",
        "/media.twiliocdn.com/./../other-bucket/x",
        "/media.twiliocdn.com/x/../../other-bucket/x",
        "/media.twiliocdn.com/x/..",
        "/media.twiliocdn.com/%2e%2e/other-bucket/x",
        "/media.twiliocdn.com/.%2E/other-bucket/x",
        "/media.twiliocdn.com/%2e./other-bucket/x",
        "/media.twiliocdn.com/%252e%252e/other-bucket/x",
        "/media.twiliocdn.com/%25252e./other-bucket/x",
        "/media.twiliocdn.com/..%2fother-bucket/x",
        "/media.twiliocdn.com/..\\other-bucket/x",
        "/media.twiliocdn.com/..%5Cother-bucket/x",
        "/media.twiliocdn.com\\..\\other-bucket/x",
        "/media.twiliocdn.com/.\t./other-bucket/x",
        "/media.twiliocdn.com/..?x",
        "/media.twiliocdn.com/..#x",
    ],
)
def test_redirects_with_dot_segments_are_not_followed(
    sandbox: Sandbox, session: requests.Session, host: str, path: str
) -> None:
    cdn = sandbox.twilio.cdn.host
    location = f"http://{host.format(cdn=cdn)}{path}"
    fault = Fault("twilio", "media", "status", status=307, headers={"Location": location}, body="")
    sandbox.faults.add(fault)
    hosts = (cdn, "s3-external-1.amazonaws.com")
    with pytest.raises(MediaForbidden):
        fetcher(sandbox, session, media_hosts=hosts).download(recorded(sandbox))
    assert calls(sandbox) == ["media"]


@pytest.mark.parametrize("name", ["a.b", "..x", "x..", "...", "a%2eb", "a%20b", "100%25"])
def test_dots_in_names_are_no_dot_segments(
    sandbox: Sandbox, media: MediaDownloader, name: str
) -> None:
    location = f"http://{sandbox.twilio.cdn.host}/{ACCOUNT}/{name}"
    fault = Fault("twilio", "media", "status", status=307, headers={"Location": location}, body="")
    sandbox.faults.add(fault)
    with pytest.raises(MediaError, match="403"):
        media.download(recorded(sandbox))
    assert calls(sandbox) == ["media", "media_cdn"]
    sandbox.recorder.clear()


@pytest.mark.parametrize(
    "host",
    ["{0}", "user@{0}", "user:secret@{0}", "{0}:443", "{0}.", "{0}\\@evil.example.com"],
)
def test_a_host_is_named_exactly(sandbox: Sandbox, session: requests.Session, host: str) -> None:
    """Also where the operator names the same host in another way."""
    s3 = "s3-external-1.amazonaws.com"
    location = f"https://{host.format(s3)}/other-bucket/x"
    fault = Fault("twilio", "media", "status", status=307, headers={"Location": location}, body="")
    sandbox.faults.add(fault)
    hosts = (s3, f"{s3}:443", f"{s3}.")
    with pytest.raises(MediaForbidden):
        fetcher(sandbox, session, media_hosts=hosts).download(recorded(sandbox))
    assert calls(sandbox) == ["media"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(
    sandbox: Sandbox, media: MediaDownloader, status: int
) -> None:
    url = recorded(sandbox)
    answer = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    headers = {"Location": answer.headers["Location"]}
    sandbox.faults.add(Fault("twilio", "media", "status", status=status, headers=headers, body=""))
    assert media.download(url) == RECORDING


def test_a_redirect_that_leads_to_itself_ends(sandbox: Sandbox, media: MediaDownloader) -> None:
    loop = {"Location": f"http://{sandbox.twilio.cdn.host}/{ACCOUNT}/x"}
    for call in ("media", "media_cdn"):
        fault = Fault("twilio", call, "status", status=307, headers=loop, body="", times=None)
        sandbox.faults.add(fault)
    with pytest.raises(MediaForbidden, match="too often"):
        media.download(recorded(sandbox))
    assert len(calls(sandbox)) == media_module.MAX_REDIRECTS


def test_an_unreachable_api_is_a_missing_recording(
    sandbox: Sandbox, session: requests.Session
) -> None:
    away = fetcher(sandbox, session, api_url="http://127.0.0.1:1")
    with pytest.raises(MediaMissing):
        away.download(f"http://127.0.0.1:1{PATH}")

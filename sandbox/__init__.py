"""Stand-ins for Twilio, Agentforce and ElevenLabs that run on this computer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg

from sandbox.agentforce.helpdesk import DEFAULT_FILE, Helpdesk
from sandbox.agentforce.standin import AgentforceStandIn
from sandbox.call_recorder import CallRecorder
from sandbox.control import ControlServer
from sandbox.elevenlabs.standin import ElevenLabsStandIn
from sandbox.faults import Faults
from sandbox.latency import INSTANT, LatencyProfile
from sandbox.service import Service
from sandbox.speech import Speech
from sandbox.twilio.standin import TwilioStandIn

__all__ = ["CREDENTIALS", "PORTS", "Sandbox"]

# The consecutive ports on which `python -m sandbox` listens.
PORTS = {"control": 5100, "twilio": 5101, "cdn": 5102, "agentforce": 5103, "elevenlabs": 5104}

# Credentials in the form of real ones, which only the stand-ins accept.
CREDENTIALS = {
    "TWILIO_ACCOUNT_SID": f"AC{'5a' * 16}",
    "TWILIO_AUTH_TOKEN": "sandbox-auth-token",
    "TWILIO_WHATSAPP_FROM": "whatsapp:+14155238886",
    "AGENTFORCE_AGENT_ID": "0XxSANDBOX00000AAA",
    "SALESFORCE_CONSUMER_KEY": "sandbox-consumer-key",
    "SALESFORCE_CONSUMER_SECRET": "sandbox-consumer-secret",
    "ELEVENLABS_API_KEY": "sandbox-api-key",
    "ELEVENLABS_VOICE_ID": "sandboxVoice00000001",
}


class Sandbox(Service):
    """The three providers and a control server, which share a call recorder and a set of faults.

    ``ports`` has the keys of ``PORTS``; a server without an entry gets a free port. ``ffmpeg`` is
    the path of the program, by default that of the wheel imageio-ffmpeg. Use it as a context
    manager, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        *,
        latency: LatencyProfile = INSTANT,
        speech: Speech,
        ports: Mapping[str, int] | None = None,
        helpdesk_file: Path | None = None,
        ffmpeg: str | None = None,
    ) -> None:
        all_ports = dict.fromkeys(PORTS, 0) | dict(ports or {})
        self.recorder = CallRecorder()
        self.faults = Faults()
        shared: dict[str, Any] = {
            "recorder": self.recorder,
            "faults": self.faults,
            "latency": latency,
        }
        self.twilio = TwilioStandIn(
            **shared,
            port=all_ports["twilio"],
            cdn_port=all_ports["cdn"],
            account_sid=CREDENTIALS["TWILIO_ACCOUNT_SID"],
            auth_token=CREDENTIALS["TWILIO_AUTH_TOKEN"],
            sender=CREDENTIALS["TWILIO_WHATSAPP_FROM"],
        )
        self.agentforce = AgentforceStandIn(
            **shared,
            port=all_ports["agentforce"],
            consumer_key=CREDENTIALS["SALESFORCE_CONSUMER_KEY"],
            consumer_secret=CREDENTIALS["SALESFORCE_CONSUMER_SECRET"],
            agent_id=CREDENTIALS["AGENTFORCE_AGENT_ID"],
            helpdesk=Helpdesk(helpdesk_file or DEFAULT_FILE),
        )
        self.elevenlabs = ElevenLabsStandIn(
            **shared,
            port=all_ports["elevenlabs"],
            api_key=CREDENTIALS["ELEVENLABS_API_KEY"],
            voice_id=CREDENTIALS["ELEVENLABS_VOICE_ID"],
            speech=speech,
            ffmpeg=ffmpeg or imageio_ffmpeg.get_ffmpeg_exe(),
        )
        self.control = ControlServer(
            recorder=self.recorder,
            faults=self.faults,
            twilio=self.twilio,
            providers=(self.twilio, self.agentforce, self.elevenlabs),
            port=all_ports["control"],
        )
        self._servers = (self.twilio, self.agentforce, self.elevenlabs, self.control)

    def start(self) -> None:
        """Raises ``SystemExit`` with a message on stderr if a port is in use."""
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        for server in reversed(self._servers):
            server.stop()

    def environment(self, public_url: str) -> dict[str, str]:
        """The environment variables that make a bridge at ``public_url`` use this sandbox.

        They allow unsigned webhooks only if ``public_url`` is plain http on this machine.
        """
        address = urlsplit(public_url)
        unsigned = address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost")
        return CREDENTIALS | {
            "TWILIO_API_URL": self.twilio.url,
            "TWILIO_MEDIA_HOSTS": self.twilio.cdn.host,
            "SALESFORCE_INSTANCE_URL": self.agentforce.url,
            "AGENTFORCE_API_URL": self.agentforce.url,
            "ELEVENLABS_API_URL": self.elevenlabs.url,
            "PUBLIC_URL": public_url,
            "UNSIGNED_LOCAL_WEBHOOKS": "true" if unsigned else "false",
        }

    def connect(self, bridge_url: str, *, public_url: str | None = None) -> None:
        """Let Twilio post to ``bridge_url``, and fetch from there, what is for ``public_url``.

        Without ``public_url`` that is the bridge's own address.
        """
        bridge_url = bridge_url.rstrip("/")
        self.twilio.delivery_simulator.reroute = ((public_url or "").rstrip("/"), bridge_url)
        self.twilio.webhook_url = f"{bridge_url.rstrip('/')}/"
        self.twilio.public_webhook_url = public_url and f"{public_url.rstrip('/')}/"

"""The service as it is deployed: real host names, TLS, a proxy, and a private authority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from http_clients.routes import CONNECTIONS
from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.speech.fixture import FixtureSpeech
from tests.e2e.deployment import Deployment
from tests.e2e.tls_proxy import TlsProxy
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"

# Connections to each host. Messages are sent and recordings fetched by a client each.
OPEN = {
    "api.twilio.com": 2 * CONNECTIONS,
    "messaging.twilio.com": CONNECTIONS,
    "mms.twiliocdn.com": CONNECTIONS,
    "acme.my.salesforce.com": CONNECTIONS,
    "api.elevenlabs.io": 2 * CONNECTIONS,
}

# Settings that would lead the service elsewhere than a deployment's defaults.
SANDBOX_ONLY = (
    "TWILIO_API_URL",
    "TWILIO_MEDIA_HOSTS",
    "AGENTFORCE_API_URL",
    "ELEVENLABS_API_URL",
    "UNSIGNED_LOCAL_WEBHOOKS",
)


@pytest.fixture(params=["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def deployed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Deployment, TlsProxy]]:
    """A bridge with the settings of a live deployment, trusting an authority by either variable."""
    speech = FixtureSpeech()
    with Sandbox(speech=speech) as sandbox:
        hosts = {
            "api.twilio.com": sandbox.twilio.port,
            "messaging.twilio.com": sandbox.twilio.port,
            "mms.twiliocdn.com": sandbox.twilio.cdn.port,
            "acme.my.salesforce.com": sandbox.agentforce.port,
            "api.elevenlabs.io": sandbox.elevenlabs.port,
        }
        sandbox.twilio.public_url = "https://api.twilio.com"
        sandbox.twilio.cdn.public_url = "https://mms.twiliocdn.com"
        # My Domain and API are one host here, named by the token answer.
        sandbox.agentforce.public_url = "https://acme.my.salesforce.com"
        with TlsProxy(hosts=hosts, folder=tmp_path) as proxy:
            bridge = Bridge(log_file=tmp_path / "log")
            settings = sandbox.environment(bridge.url)
            for name in SANDBOX_ONLY:
                del settings[name]
            bridge.settings = settings | {
                "HTTPS_PROXY": proxy.url,
                str(request.param): str(proxy.ca_file),
                "LOG_LEVEL": "DEBUG",
            }
            sandbox.connect(bridge.url)
            with bridge:
                deployment = Deployment(sandbox=sandbox, speech=speech, bridge=bridge)
                deployment.begin()
                yield deployment, proxy


def test_a_voice_turn_through_the_real_names(deployed: tuple[Deployment, TlsProxy]) -> None:
    """Every client goes through the proxy and trusts the authority; the answer is spoken.

    Nobody waits for a handshake: all connections were opened after the start.
    """
    deployment, proxy = deployed
    wait_until(lambda: deployment.log().count("Host reached") == len(OPEN), "all connections")
    user = deployment.user()
    delivery = deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    deployment.sandbox.recorder.wait_for(lambda: delivery.sid in deployment.twilio.typed)
    assert deployment.answers(user, 1)[0].body.startswith("To register")
    assert Counter(proxy.tunnels) == OPEN
    assert deployment.log().count("Host cannot be reached") == len(proxy.refused) > 0
    deployment.check()


def test_an_unsigned_webhook_is_refused_in_a_deployment(
    deployed: tuple[Deployment, TlsProxy],
) -> None:
    deployment, _ = deployed
    form = deployment.twilio.forms.text(deployment.user(), "hello")
    assert deployment.twilio.deliver(form, signed=False).status == 403

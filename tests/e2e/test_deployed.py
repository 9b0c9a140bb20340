"""The service with the providers' real host names, over TLS, a proxy and a private authority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

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
# Connections of the check after the start, one of them to the service itself.
CHECKED = ("api.twilio.com", "api.elevenlabs.io", "bot.example.com")
PUBLIC_URL = "https://bot.example.com"

# Settings that a live deployment leaves at their defaults.
SANDBOX_ONLY = (
    "TWILIO_API_URL",
    "TWILIO_MEDIA_HOSTS",
    "AGENTFORCE_API_URL",
    "ELEVENLABS_API_URL",
    "UNSIGNED_LOCAL_WEBHOOKS",
)


@pytest.fixture(scope="module", params=["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, TlsProxy]]:
    """A service with the settings of a live deployment; either variable names the authority."""
    speech, folder = FixtureSpeech(), tmp_path_factory.mktemp("deployed")
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
        bridge = Bridge(log_file=folder / "log")
        hosts["bot.example.com"] = bridge.port
        with TlsProxy(hosts=hosts, folder=folder) as proxy:
            settings = sandbox.environment(PUBLIC_URL)
            for name in SANDBOX_ONLY:
                del settings[name]
            bridge.settings = settings | {
                "HTTPS_PROXY": proxy.url,
                str(request.param): str(proxy.ca_file),
                "LOG_LEVEL": "DEBUG",
            }
            sandbox.connect(bridge.url, public_url=PUBLIC_URL)
            with bridge:
                deployment = Deployment(sandbox=sandbox, speech=speech, bridge=bridge)
                deployment.begin()
                yield deployment, proxy


def test_a_voice_turn_through_the_real_names(deployed: tuple[Deployment, TlsProxy]) -> None:
    """Every client uses the proxy and the authority, on connections opened at the start."""
    deployment, proxy = deployed
    wait_until(lambda: deployment.log().count("Host reached") == len(OPEN), "all connections")
    wait_until(lambda: "Check: " in deployment.log(), "the check")
    user = deployment.user()
    delivery = deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    deployment.sandbox.recorder.wait_for(lambda: delivery.sid in deployment.twilio.typed)
    assert deployment.answers(user, 1)[0].body.startswith("To register")
    assert Counter(proxy.tunnels) == Counter(OPEN) + Counter(CHECKED)
    assert deployment.log().count("Host cannot be reached") == len(proxy.refused) > 0
    deployment.check()


def test_an_unsigned_webhook_is_refused_in_a_deployment(
    deployed: tuple[Deployment, TlsProxy],
) -> None:
    deployment, _ = deployed
    form = deployment.twilio.forms.text(deployment.user(), "hello")
    assert deployment.twilio.deliver(form, signed=False).status == 403

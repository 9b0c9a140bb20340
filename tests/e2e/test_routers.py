"""The service behind real routers, with the configurations of ``deploy/``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
import trustme
import urllib3

from sandbox.bridge import free_port
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
NAME = "bot.example.com"
ADDRESS = f"https://{NAME}"
SERVICE = "127.0.0.1:8000"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Router:
    """A router in front of the deployment; ``ports`` are those of https and http."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.deployment = deployment
        self.ports = free_port(), free_port()
        self._folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = authority.issue_cert(NAME)
        certificate.private_key_pem.write_to_path(folder / "privkey.pem")
        for chain in certificate.cert_chain_pems:
            chain.write_to_path(folder / "fullchain.pem", append=True)

    def configuration(self, file: str, changes: Mapping[str, str]) -> str:
        """A file of ``deploy/`` with some parts changed, each of which must be there."""
        text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
        service = {SERVICE: self.deployment.bridge.url.removeprefix("http://")}
        for old, new in {**service, **changes}.items():
            assert old in text
            text = text.replace(old, new)
        return text

    def nginx(self) -> list[str]:
        tls, plain = self.ports
        server = self.configuration(
            "nginx.conf",
            {
                "/etc/letsencrypt/live/bot.example.com": str(self._folder),
                "listen 443": f"listen 127.0.0.1:{tls}",
                "listen 80": f"listen 127.0.0.1:{plain}",
            },
        )
        places = "".join(
            f"{kind}_temp_path {self._folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self._folder / "router.conf").write_text(
            # Otherwise root's nginx would work as a user who may not read the folder.
            f"{'user root;' if os.geteuid() == 0 else ''}\n"
            f"daemon off; error_log stderr; pid {self._folder}/pid;\n"
            f"events {{}}\nhttp {{ access_log off; {places}\n{server} }}\n",
            encoding="utf-8",
        )
        return ["-c", str(self._folder / "router.conf"), "-p", str(self._folder)]

    def caddy(self) -> list[str]:
        tls, plain = self.ports
        files = f"{self._folder}/fullchain.pem {self._folder}/privkey.pem"
        site = self.configuration(
            "Caddyfile", {f"\n{NAME} {{": f"\n{NAME} {{\n\tbind 127.0.0.1\n\ttls {files}"}
        )
        (self._folder / "Caddyfile").write_text(
            f"{{\n\tadmin off\n\thttps_port {tls}\n\thttp_port {plain}\n}}\n{site}",
            encoding="utf-8",
        )
        return ["run", "--config", str(self._folder / "Caddyfile")]

    def request(
        self, method: str, path: str, *, body: str = "", headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """A request over TLS to the name of the service; the path is sent as it is."""
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            self.ports[0],
            ca_certs=str(self._folder / "ca.pem"),
            server_hostname=NAME,
            assert_hostname=NAME,
            retries=False,
        ) as pool:
            return pool.request(method, path, body=body, headers={"Host": NAME, **(headers or {})})

    def answers(self) -> bool:
        try:
            return self.request("GET", "/").status == 200
        except urllib3.exceptions.HTTPError:
            return False


ARGUMENTS: dict[str, Callable[[Router], list[str]]] = {
    "nginx": Router.nginx,
    "caddy": Router.caddy,
}


@pytest.fixture(scope="module")
def deployed(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(PUBLIC_URL=ADDRESS, UNSIGNED_LOCAL_WEBHOOKS="false") as deployment:
        yield deployment


@pytest.fixture(scope="module", params=ARGUMENTS)
def program(request: pytest.FixtureRequest) -> Path:
    """Where a router is installed; its tests are skipped if it is not."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"no {request.param}: apt-get install {request.param}")
    return Path(found)


@pytest.fixture(scope="module")
def router(
    program: Path, deployed: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp(program.name)
    router = Router(folder, deployed)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *ARGUMENTS[program.name](router)],
            stdout=log,
            stderr=log,
            # Caddy keeps its state there.
            env={"HOME": str(folder)},
        )
        try:
            wait_until(router.answers, program.name)
            yield router
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("path", ["/", "/?tenant=a%2Fb&name=%C3%A9", "//status", "/st%61tus"])
def test_the_signed_address_reaches_the_service_as_it_was_sent(router: Router, path: str) -> None:
    form = router.deployment.twilio.forms.text(router.deployment.user(), "hello")
    router.deployment.twilio.register_inbound(form)
    answer = router.request(
        "POST",
        path,
        body=urlencode(form),
        headers=FORM | router.deployment.signature(ADDRESS + path, form),
    )
    # Neither /status nor // is the webhook.
    expected = {"//status": 404, "/st%61tus": 400}.get(path, 200)
    assert answer.status == expected
    if expected == 200:
        router.deployment.answers(form["From"], 1)


def test_a_forged_request_is_refused(router: Router) -> None:
    form = router.deployment.twilio.forms.text(router.deployment.user(), "hello")
    answer = router.request("POST", "/", body=urlencode(form), headers=FORM)
    assert answer.status == 403


def test_a_large_body_is_refused(router: Router) -> None:
    assert router.request("POST", "/", body="x" * 100_000, headers=FORM).status == 413


def test_plain_http_leads_to_https(router: Router) -> None:
    answer = requests.get(
        f"http://127.0.0.1:{router.ports[1]}/dashboard",
        headers={"Host": NAME},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.is_redirect
    assert answer.headers["Location"] == f"{ADDRESS}/dashboard"

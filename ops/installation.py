"""A whole installation, started as a newcomer starts it, for benches and browser tests."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 240.0


@dataclass(kw_only=True)
class Installation:
    """A running `manage.py up` with its own data directory."""

    process: "subprocess.Popen[str]"
    var: Path
    address: str = ""
    admin: str = ""
    password: str = ""
    started_seconds: float = 0.0
    domain_apps: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def services(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.var / "run" / "services.json").read_text())
        return found

    def connect_django(self) -> None:
        """The platform's models and services in this process, on the installation's database.

        Once in a process, and before anything else imports Django's settings.
        """
        os.environ.update(
            self.services,
            PRAXIS_VAR=str(self.var),
            PRAXIS_DOMAIN_APPS=self.domain_apps,
            DJANGO_SETTINGS_MODULE="praxis.settings",
        )
        import django

        django.setup()

    def sign_in(self) -> httpx.Client:
        """A browser-like client with the administrator's session; `client.csrf` headers are set."""
        client = httpx.Client(base_url=self.address, follow_redirects=True, timeout=60)
        page = client.get("/accounts/login/").text
        client.post(
            "/accounts/login/",
            data={
                "csrfmiddlewaretoken": _token(page),
                "login": self.admin,
                "password": self.password,
            },
            headers={"referer": self.address},
        )
        client.headers.update({"x-csrftoken": client.cookies["csrftoken"], "referer": self.address})
        return client

    def make_key(self, client: httpx.Client, *scopes: str, role: str = "owner") -> str:
        """The secret of a new API key, read off the page as a person would."""
        page = client.post(
            "/w/demo/integrations/keys/", data={"name": "bench", "role": role, "scopes": scopes}
        ).text
        found = re.search(r'id="secret">([^<]+)<', page)
        assert found, f"the page shows no new key: {page[:500]}"
        return found[1]

    def rest(self, *scopes: str, role: str = "owner") -> httpx.Client:
        """A client of the REST API with a new key."""
        key = self.make_key(self.sign_in(), *scopes, role=role)
        return httpx.Client(
            base_url=f"{self.address}/api/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=180,
        )

    def set_assistant(self, slug: str, **values: str | float) -> None:
        """As an administrator does on the page of assistant settings; what is left out is off, or
        as here."""
        form = {
            "enabled": "on",
            "lower_threshold": 0.35,
            "upper_threshold": 0.75,
            "documents_threshold": 0.6,
            "documents": "quote",
            "cache_hours": 24,
            **values,
        }
        address = f"/w/demo/assistants/{slug}/"
        data = {f"{slug}-{name}": str(value) for name, value in form.items()}
        page = self.sign_in().post(address, data=data).raise_for_status()
        assert page.url.path != address, f"the settings were refused: {form}"


def wait_until_read(api: httpx.Client, corpus: str, count: int, seconds: float = 3600) -> None:
    """Until so many documents of the corpus can be searched; one that failed is an error."""
    give_up_at = time.monotonic() + seconds
    while True:
        found: list[dict[str, Any]] = []
        address = f"/corpora/{corpus}/documents"
        while page := api.get(address, params={"limit": 100, "offset": len(found)}).json():
            found += page
        failed = [
            version["error"]
            for one in found
            for version in one["versions"]
            if version["state"] == "failed"
        ]
        assert not failed, f"a document could not be read: {failed[0]}"
        if sum(one["current_version_id"] is not None for one in found) >= count:
            return
        assert time.monotonic() < give_up_at, f"{count} documents were not read in {seconds} s"
        time.sleep(2)


def ask(api: httpx.Client, assistant: str, question: str) -> dict[str, Any]:
    """The finished answer to the first question of a new conversation."""
    conversation = api.post("/conversations", json={"assistant": assistant}).json()["id"]
    address = f"/conversations/{conversation}/messages"
    answer: dict[str, Any] = api.post(address, json={"text": question}).raise_for_status().json()
    return answer


def _token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, "the page has no form"
    return found[1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    *, root: Path = ROOT, environment: Mapping[str, str] | None = None, python: str = sys.executable
) -> Iterator[Installation]:
    """Start everything in a temporary data directory and stop it at the end."""
    var = Path(tempfile.mkdtemp(prefix="praxis-installation-"))
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PRAXIS_")},
        "PRAXIS_VAR": str(var),
        "PRAXIS_PORT": str(free_port()),
        **(environment or {}),
    }
    for name in (
        *("DATABASE_URL", "REDIS_URL"),
        *("LLM_BASE_URL", "EMBEDDING_BASE_URL", "RERANK_BASE_URL"),
    ):
        variables.pop(name, None)
    started = time.monotonic()
    process = subprocess.Popen(
        [python, "manage.py", "up"],
        cwd=root,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    installation = Installation(
        process=process, var=var, domain_apps=variables.get("PRAXIS_DOMAIN_APPS", "")
    )
    ready = threading.Event()
    threading.Thread(target=_read, args=(installation, ready), daemon=True).start()
    try:
        if not ready.wait(START_SECONDS):
            raise RuntimeError("manage.py up was not ready:\n" + "\n".join(installation.log[-40:]))
        installation.started_seconds = time.monotonic() - started
        yield installation
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(var, ignore_errors=True)


def _read(installation: Installation, ready: threading.Event) -> None:
    """Keep the output and pick out what `up` says at its end."""
    assert installation.process.stdout is not None
    for line in installation.process.stdout:
        installation.log.append(line.rstrip())
        for name, attribute in (
            ("Address", "address"),
            ("Sign in", "admin"),
            ("Password", "password"),
        ):
            if found := re.search(rf"^praxis +\| {name}: +(\S+)", line):
                setattr(installation, attribute, found[1].rstrip("/"))
        if installation.password and installation.address:
            ready.set()

"""Who may call the server, and what it says to those who may not."""

import json
from pathlib import Path

import httpx
import pytest

from modeling.inference.server import main
from modeling.inference.tests.running import Running, chat_body, running_server, wait_until

PROTECTED = [
    ("GET", "/v1/models"),
    ("GET", "/metrics"),
    ("POST", "/tokenize"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("GET", "/no-such-page"),
    ("POST", "//health"),
    ("GET", "/health/"),
    ("GET", "/HEALTH"),
]
WRONG = ["Bearer wrong", "Bearer rightx", "Bearer", "right", "bearer right", "Basic cmlnaHQ="]


def test_it_refuses_every_path_but_health_without_the_right_key(tmp_path: Path) -> None:
    headers = [{}, *({"Authorization": value} for value in WRONG)]
    with (
        running_server(tmp_path, api_key="right") as server,
        httpx.Client(base_url=server.client.base_url) as stranger,
    ):
        for method, path in PROTECTED:
            for header in headers:
                answer = stranger.request(method, path, headers=header)
                assert answer.status_code == 401, (method, path, header)
                assert answer.json()["error"]["code"] == "invalid_api_key"
        assert stranger.get("/health").status_code in {200, 503}
        wait_until(lambda: stranger.get("/health").status_code == 200)
        assert server.chat("say 1").status_code == 200


def test_it_refuses_a_host_name_that_is_not_loopback_while_there_is_no_key(
    shared_server: Running,
) -> None:
    refused = shared_server.client.get("/v1/models", headers={"Host": "evil.example:80"})
    allowed = shared_server.client.get("/v1/models", headers={"Host": "localhost:80"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "host_not_allowed"
    assert allowed.status_code == 200


def test_it_refuses_a_form_that_a_web_page_could_post(shared_server: Running) -> None:
    answer = shared_server.client.post(
        "/v1/chat/completions",
        content=json.dumps(chat_body("say 1")).encode(),
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "there is no API key"),
        (["--api-key-env", "PRAXIS_NO_SUCH_KEY"], "PRAXIS_NO_SUCH_KEY, which is not set"),
    ],
)
def test_it_does_not_start_open_to_others_without_a_key(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = ["--models-dir", str(tmp_path / "m"), "--adapters-dir", str(tmp_path / "a")]
    assert main(["--port", "0", *folders, *arguments]) == 1
    assert said in capsys.readouterr().err


def test_it_says_which_port_is_taken(
    shared_server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--models-dir", str(tmp_path / "m"), "--adapters-dir", str(tmp_path / "a")]
    assert main(["--port", str(shared_server.port), *folders]) == 1
    assert f"127.0.0.1:{shared_server.port} can't be listened on" in capsys.readouterr().err

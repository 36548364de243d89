"""Stands in for llama.cpp: the same process contract and the same HTTP, without a model.

    python -m modeling.inference.tests.fake_engine LOG CONFIG_JSON

What it does is told by the first words of the last message:
    "say N every S"   streams or returns N words, one every S seconds
    "die after N"     sends N words, then the process ends
    "long N"          stands for a prompt of N tokens
Each thing that happens is appended to LOG as a line of JSON. An adapter file that holds the word
"broken" keeps the engine from starting.
"""

import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from modeling.inference.engine import EngineConfig, announce_ready_and_wait, end_with_parent


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    config: EngineConfig
    log: Path

    def note(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n"
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line)


class Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._answer(200, {"tokens": list(range(len(body["content"].split())))})
            return
        self.server.note("request", body=body)
        words = body["messages"][-1]["content"].split()
        if words[0] == "long" and int(words[1]) > self.server.config.context:
            self._refuse_length(int(words[1]))
            return
        if words[0] == "fail":
            self._error(int(words[1]), "no", "server_error")
            return
        num_words = int(words[1]) if words[0] == "say" else 3
        pause = float(words[3]) if words[0] == "say" and len(words) > 3 else 0.0
        lives_for = int(words[2]) if words[0] == "die" else None
        answer = self._stream if body.get("stream") else self._whole
        try:
            answer(body, num_words, pause, lives_for)
        except (BrokenPipeError, ConnectionResetError):
            self.server.note("caller_left")
            self.close_connection = True

    def _refuse_length(self, num_tokens: int) -> None:
        self._error(
            400,
            f"request ({num_tokens} tokens) exceeds the available context size",
            "exceed_context_size_error",
            n_prompt_tokens=num_tokens,
            n_ctx=self.server.config.context,
        )

    def _error(self, status: int, message: str, kind: str, **facts: Any) -> None:
        error = {"code": status, "message": message, "type": kind, **facts}
        self._answer(status, {"error": error})

    def _answer(self, status: int, value: Any) -> None:
        content = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _whole(
        self, body: dict[str, Any], num_words: int, pause: float, lives_for: int | None
    ) -> None:
        for index in range(num_words):
            if index == lives_for:
                os._exit(3)
            time.sleep(pause)
            if self._caller_has_left():
                self.server.note("caller_left")
                self.close_connection = True
                return
        text = " ".join(f"w{index}" for index in range(num_words))
        self._answer(
            200,
            {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
                "model": self.server.config.model_name,
                "object": "chat.completion",
                "timings": {"cache_n": 2, "prompt_n": 5, "predicted_n": num_words},
            },
        )
        self.server.note("finished")

    def _stream(
        self, body: dict[str, Any], num_words: int, pause: float, lives_for: int | None
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event({"delta": {"role": "assistant", "content": None}})
        for index in range(num_words):
            if index == lives_for:
                os._exit(3)
            self._event({"delta": {"content": f"w{index} "}})
            time.sleep(pause)
        self._event({"delta": {}, "finish_reason": "stop"}, last=True, num_words=num_words)
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.server.note("finished")

    def _event(self, choice: dict[str, Any], *, last: bool = False, num_words: int = 0) -> None:
        event: dict[str, Any] = {
            "choices": [{"index": 0, **choice}],
            "model": self.server.config.model_name,
            "object": "chat.completion.chunk",
        }
        if last:
            event["timings"] = {"cache_n": 2, "prompt_n": 5, "predicted_n": num_words}
        self._chunk(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _caller_has_left(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1) == b""
        except BlockingIOError:
            return False
        finally:
            self.connection.setblocking(True)


def main() -> None:
    log, config_json = sys.argv[1:]
    config = EngineConfig.from_json(config_json)
    end_with_parent(config.parent_pid)
    if any(b"broken" in Path(path).read_bytes() for path in config.adapter_paths):
        sys.exit(1)
    with FakeEngine(config.socket_path, Conversation) as server:
        server.config, server.log = config, Path(log)
        server.note("start", adapters=list(config.adapter_paths), context=config.context)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        announce_ready_and_wait(os.getpid())
    os._exit(0)


if __name__ == "__main__":
    main()

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.webhooks import post
from polydistill.errors import ParamsError, StageError


class Receiver(BaseHTTPRequestHandler):
    got: list[object] = []  # noqa: RUF012 - shared on purpose: each test clears it

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(500 if "broken" in self.path else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Receiver.got.clear()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_payload_arrives_as_json(server: str) -> None:
    post(f"{server}/token", {"event": "promoted", "version": 5})

    assert Receiver.got == [("/token", "application/json", {"event": "promoted", "version": 5})]


def test_the_error_of_a_refused_request_has_the_status_code_but_not_the_url(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(StageError, match="answered 500") as got:
        post(f"{server}/broken/secret-token", {})

    assert "secret-token" not in f"{got.value} {got.value.__cause__} {caplog.text}"


def test_the_error_of_an_unreachable_receiver_does_not_contain_the_url() -> None:
    with pytest.raises(StageError, match="did not answer: URLError") as got:
        post("http://127.0.0.1:1/secret-token", {}, timeout_s=1)

    assert "secret-token" not in str(got.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "hooks.example/secret-token"])
def test_only_http_urls_are_accepted(url: str) -> None:
    with pytest.raises(ParamsError, match="must begin with http") as got:
        post(url, {})

    assert url not in str(got.value)

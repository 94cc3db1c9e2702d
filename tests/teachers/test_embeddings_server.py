"""The family against a real HTTP server on this machine."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from polydistill.errors import DataError, ParamsError, ShapeError, StageError
from polydistill.teachers import TEACHERS
from polydistill.teachers.embeddings_server import EmbeddingsServerTeacher

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]
SECRET = "sk-do-not-log-me"  # noqa: S105
SLEEP = "polydistill.teachers.embeddings_server.time.sleep"


def vector(text: str) -> list[float]:
    return [float(len(text)), float(text.count("a")), 1.0]


def data_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [{"index": at, "embedding": vector(text)} for at, text in enumerate(request["input"])]
    return rows[::-1]  # the order of the rows is not promised


def embeds(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    rows = data_of(request)
    if request["encoding_format"] == "base64":
        for row in rows:
            row["embedding"] = base64.b64encode(
                np.array(row["embedding"], "<f4").tobytes()
            ).decode()
    return 200, {}, json.dumps({"data": rows, "model": request["model"]}).encode()


class Server:
    """A server whose answers are `answers` in turn, the last one repeatedly."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [embeds]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(json.loads(body))
                server.headers.append(dict(self.headers))
                server.paths.append(self.path)
                one = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                status, headers, content = one(server.requests[-1])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(SLEEP, lambda _: None)
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def make(url: str, **options: Any) -> EmbeddingsServerTeacher:
    given = {"model": "bge-m3", "revision": "2026-11", "dim": 3, **options}
    TEACHERS.check("embeddings-server", {"url": url, **given})
    return EmbeddingsServerTeacher("served", 1, url=url, **given)


def fails(status: int, said: str = "", **headers: str) -> Answer:
    return lambda _: (status, headers, said.encode())


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_rows_are_in_the_order_of_the_texts(server: Server, encoding: str) -> None:
    texts = ["a", "banana", "cat", "naïve \U0001f600"]

    found = make(server.url, encoding=encoding, batch_size=3, prompt="query: ").embed(texts)

    assert found.values.tolist() == [vector(f"query: {text}") for text in texts]
    assert found.values.dtype == np.float32
    assert found.present.all()
    assert [len(request["input"]) for request in server.requests] == [3, 1]
    assert set(server.paths) == {"/v1/embeddings"}
    assert "Authorization" not in server.headers[0]


def test_building_and_identifying_it_sends_nothing(server: Server) -> None:
    teacher = make(server.url)

    assert teacher.embed([]).values.shape == (0, 3)
    assert teacher.identity["revision"] == "2026-11"
    assert server.requests == []


def test_the_width_is_requested_only_if_it_is_given(server: Server) -> None:
    make(server.url).embed(["a"])
    make(server.url, dimensions=3).embed(["a"])

    assert [request.get("dimensions") for request in server.requests] == [None, 3]


def test_the_key_is_sent_and_appears_nowhere_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", SECRET)
    teacher = make(server.url, api_key_env="EMBEDDINGS_KEY", retries=1)
    server.answers = [fails(503), fails(401, f"bad key {SECRET}!")]

    with pytest.raises(StageError, match=r"401.*bad key …!.*EMBEDDINGS_KEY") as caught:
        teacher.embed(["a"])

    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in f"{caught.value}{caplog.text}{dict(teacher.identity)}{teacher!r}"


def test_a_key_that_is_not_set_is_named(server: Server) -> None:
    with pytest.raises(ParamsError, match="NO_SUCH_KEY must hold the API key"):
        make(server.url, api_key_env="NO_SUCH_KEY").embed(["a"])
    assert server.requests == []


@pytest.mark.parametrize("key", [f"{SECRET}\nsecond", f"{SECRET}\r\nX-Header: 1", "ключ"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", key)

    with pytest.raises(ParamsError, match="EMBEDDINGS_KEY must be one line of ASCII") as caught:
        make(server.url, api_key_env="EMBEDDINGS_KEY").embed(["a"])
    assert key.strip() not in str(caught.value)


def test_a_server_that_wants_a_key_is_refused_with_the_option(server: Server) -> None:
    server.answers = [fails(401)]

    with pytest.raises(StageError, match="`api_key_env`"):
        make(server.url).embed(["a"])
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(SLEEP, waited.append)
    hint = {"Retry-After": "7"}
    server.answers = [fails(429, **hint), fails(503), fails(500, **{"Retry-After": "999"}), embeds]

    found = make(server.url).embed(["aa"])

    assert found.values.tolist() == [vector("aa")]
    assert waited == [7, 2, 30]


def test_a_server_that_stays_busy_fails_after_the_last_retry(server: Server) -> None:
    server.answers = [fails(503, "loading the model")]

    with pytest.raises(StageError, match="did not answer 3 requests: HTTP 503.*loading the model"):
        make(server.url, retries=2).embed(["a"])
    assert len(server.requests) == 3


def test_another_status_is_not_retried(server: Server) -> None:
    server.answers = [fails(404, '{"error": "model bge-m3 not found"}')]

    with pytest.raises(StageError, match="HTTP 404.*bge-m3 not found"):
        make(server.url).embed(["a"])
    assert len(server.requests) == 1


def test_a_redirect_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", SECRET)
    server.answers = [fails(302, Location=f"{server.url}/elsewhere")]

    with pytest.raises(StageError, match="HTTP 302.*/v1/elsewhere.*not followed"):
        make(server.url, api_key_env="EMBEDDINGS_KEY").embed(["a"])
    assert server.paths == ["/v1/embeddings"]


def test_an_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLEEP, lambda _: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    with pytest.raises(
        StageError, match=f"{url} did not answer 2 requests: .*refused.*server runs"
    ):
        make(url, retries=1).embed(["a"])


def test_another_width_is_refused(server: Server) -> None:
    with pytest.raises(ShapeError, match=r"width 4, got \(3,\): set `dim`"):
        make(server.url, dim=4).embed(["a"])


def test_fewer_rows_than_texts_are_refused(server: Server) -> None:
    server.answers = [
        lambda request: (200, {}, json.dumps({"data": data_of(request)[1:]}).encode())
    ]

    with pytest.raises(DataError, match="each of the 2 texts.*got 1"):
        make(server.url).embed(["a", "b"])


def test_two_rows_of_one_text_are_refused(server: Server) -> None:
    server.answers = [
        lambda request: (200, {}, json.dumps({"data": data_of(request) * 2}).encode())
    ]

    with pytest.raises(DataError, match=r"each of the 1 texts.*got 2 with the `index` \[0, 0\]"):
        make(server.url).embed(["a"])


def test_a_request_ends_in_time_although_its_answer_goes_on() -> None:
    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the client has gone
                for _ in range(200):
                    self.wfile.write(b" ")
                    stop.wait(0.02)

        def log_message(self, *_: object) -> None:
            pass

    stop, http = threading.Event(), ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}).start()
    url = f"http://127.0.0.1:{http.server_port}/v1"

    with pytest.raises(StageError, match="did not answer 1 requests: timed out"):
        make(url, retries=0, timeout_s=0.2).embed(["a"])
    stop.set()
    http.shutdown()
    http.server_close()


def test_an_answer_that_is_cut_off_is_asked_for_again(server: Server) -> None:
    server.answers = [fails(200, "{", **{"Content-Length": "99"}), embeds]

    assert make(server.url).embed(["a"]).values.tolist() == [vector("a")]


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"{}",
        b'{"data": [{"index": 0}]}',
        b'{"data": [{"index": 0, "embedding": "%%"}]}',
        b'{"data": [{"index": 1e999, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}",
        b"[" * 200_000,
    ],
)
def test_an_answer_in_another_format_is_refused(server: Server, content: bytes) -> None:
    server.answers = [lambda _: (200, {}, content)]

    with pytest.raises(DataError, match="OpenAI's format"):
        make(server.url).embed(["a"])


@pytest.mark.parametrize(
    "url",
    [
        "http://me:pw@host/v1",
        "file:///etc/passwd",
        "localhost:8000",
        "http://[::1/v1",
        "http:///v1",
        "http://host:99999/v1",
        "http://host/v1?version=2",
    ],
)
def test_a_url_with_credentials_or_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ParamsError):
        make(url)


@pytest.mark.parametrize("end", ["?key=secret", "#part"])
def test_a_url_with_a_query_is_refused_without_showing_it(server: Server, end: str) -> None:
    with pytest.raises(ParamsError, match="without a query") as caught:
        make(f"{server.url}{end}")

    assert "secret" not in str(caught.value)


def test_a_line_break_after_the_key_is_ignored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", f"{SECRET}\n")

    make(server.url, api_key_env="EMBEDDINGS_KEY").embed(["a"])

    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


def test_a_model_without_a_version_is_refused() -> None:
    options = {"url": "http://localhost/v1", "model": "m", "dim": 3}

    with pytest.raises(ParamsError, match="'revision'"):
        TEACHERS.check("embeddings-server", options)

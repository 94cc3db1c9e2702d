"""MLflow sends changes of the registry to a webhook, as docs/guides/notifications.md describes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient

from services.processes import HOST
from services.servers import BUCKET, Services

pytestmark = pytest.mark.services
MODEL, SECRET, PATIENCE_S = "hooked", "a secret of twenty letters", 60.0
Delivery = tuple[dict[str, str], bytes]


@pytest.fixture
def received() -> Iterator[tuple[str, queue.Queue[Delivery]]]:
    """The address of a receiver, and the queue of its deliveries."""
    deliveries: queue.Queue[Delivery] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.put((dict(self.headers), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = HTTPServer((HOST, 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}/champions", deliveries
    server.shutdown()
    server.server_close()


def test_a_change_of_an_alias_is_sent_to_a_webhook_with_a_signature(
    services: Services, received: tuple[str, queue.Queue[Delivery]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    url, deliveries = received
    client = MlflowClient(services.environment["MLFLOW_TRACKING_URI"])
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, source=f"s3://{BUCKET}/mlflow/hooked")

    events: Any = ["model_version_alias.created", "model_version_alias.deleted"]
    client.create_webhook(name="champions", url=url, events=events, secret=SECRET)
    client.set_registered_model_alias(MODEL, "champion", "1")
    headers, body = deliveries.get(timeout=PATIENCE_S)

    data = json.loads(body)["data"]
    assert (data["name"], data["alias"], data["version"]) == (MODEL, "champion", "1")
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body.decode()}"
    digest = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(digest).decode()}"

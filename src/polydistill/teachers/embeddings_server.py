"""Any server with OpenAI's interface `/v1/embeddings`, such as vLLM, TEI, Ollama, llama.cpp or OpenAI."""

import base64
import json
import logging
import os
import time
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Annotated, Any, ClassVar, Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from polydistill.config.nodes import Count, Factor, Limit, Text, Width, checked_url
from polydistill.contracts import FloatArray
from polydistill.errors import DataError, ParamsError, ShapeError, StageError, short
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import ReadsTexts

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP status codes after which a request is repeated."""
MAX_WAIT_S = 30.0
"""Maximum waiting time before a repeated request, also if the server names a longer one."""
PART_BYTES = 65_536
_log = logging.getLogger(__name__)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: a redirect would send the API key to another address."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


@TEACHERS.register("embeddings-server")
@dataclass(eq=False, kw_only=True)
class EmbeddingsServerTeacher(ReadsTexts):
    """A model behind HTTP. Nothing is sent before texts are embedded.

    Attributes:
        url: The base URL of the interface, such as `http://localhost:8000/v1`, without credentials.
        model: The name of the model, as the server knows it.
        revision: A name for the version that the server runs. Stored embeddings are reused as long as it is the same:
            change it when the model behind the URL changes.
        dim: Width of the embeddings that the server returns.
        dimensions: Width that is requested from a server that can shorten its embeddings; None: the model's own.
        api_key_env: The name of the environment variable that holds the API key; None: no key is sent.
        prompt: Text prepended to every example.
        batch_size: Number of texts per request.
        encoding: How the numbers are requested: `float` (JSON) or `base64`, which is smaller.
        timeout_s: Maximum duration of a request, in seconds.
        retries: How often a failed request is repeated, with waiting times that double, beginning with a second.
    """

    family = "embeddings-server"
    identified_by = ("model", "revision", "prompt")
    identified_if_set = ("dimensions",)
    remote: ClassVar[bool] = True
    """Whether the weights are on another machine, so that their size is not known."""

    url: str
    model: Text
    revision: Text
    dim: Width
    dimensions: Width | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    prompt: str = ""
    batch_size: Count = 64
    encoding: Literal["float", "base64"] = "float"
    timeout_s: Factor = 60.0
    retries: Limit = 5

    def __post_init__(self) -> None:
        if not checked_url(self.url).startswith(("http://", "https://")):
            raise ParamsError(f"Teacher {self.name!r}: `url` must begin with http:// or https://.")
        if not _is_base(self.url):
            raise ParamsError(
                f"Teacher {self.name!r}: `url` must be a base URL such as http://localhost:8000/v1, with a host and "
                f"without a query, got {short(self.url.partition('?')[0])}."
            )
        self.batch_rows = self.batch_size

    def _run(self, texts: list[str]) -> FloatArray:
        request: dict[str, object] = {"model": self.model, "input": texts}
        request |= {"encoding_format": self.encoding}
        if self.dimensions is not None:
            request["dimensions"] = self.dimensions
        return self._read_rows(self._answer(json.dumps(request).encode()), len(texts))

    def _answer(self, body: bytes) -> bytes:
        """Return the server's answer; repeat the request while the server is busy or unreachable."""
        for attempt in range(self.retries + 1):
            asked_s = 0.0
            try:
                return self._post(body)
            except HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}{self._said(error)}"
                if error.code in {401, 403}:
                    raise StageError(self._refused(reason)) from None
                if error.code not in BUSY:
                    raise StageError(f"{self._server} refused the request: {reason}.") from None
                asked_s = _seconds(error.headers)
            except (OSError, HTTPException) as error:  # also a timeout
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt < self.retries:
                _log.warning("%s: %s. The request is repeated.", self._server, reason)
                time.sleep(min(max(2.0**attempt, asked_s), MAX_WAIT_S))
        raise StageError(
            f"{self._server} did not answer {self.retries + 1} requests: {reason}. Check that the server runs; the "
            "batches that were finished are kept."
        )

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "polydistill"}
        if self.api_key_env is not None:
            headers["Authorization"] = f"Bearer {self._key(self.api_key_env)}"
        address = f"{self.url.rstrip('/')}/embeddings"
        request = urllib.request.Request(address, body, headers)  # noqa: S310 - http or https
        opener = urllib.request.build_opener(_NoRedirect)
        until_s = time.monotonic() + self.timeout_s
        with opener.open(request, timeout=self.timeout_s) as answer:
            return _content(answer, until_s)

    def _key(self, variable: str) -> str:
        """Return the API key, which no message may show."""
        key = os.environ.get(variable, "").strip()
        if not key:
            raise ParamsError(
                f"Teacher {self.name!r}: the environment variable {variable} must hold the API key, "
                "but it is not set."
            )
        if not (key.isascii() and key.isprintable()):
            raise ParamsError(
                f"Teacher {self.name!r}: the API key in the environment variable {variable} must be one line of ASCII "
                "characters, got others."
            )
        return key

    def _read_rows(self, answer: bytes, n_texts: int) -> FloatArray:
        """Return the embeddings in the order of the texts, `(n_texts, dim)`."""
        try:
            found = [(int(one["index"]), one["embedding"]) for one in json.loads(answer)["data"]]
            rows = dict(found)
            values = [_numbers(rows[index]) for index in sorted(rows)]
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            raise DataError(
                f"{self._server} must answer with OpenAI's format, a list `data` of `index` and `embedding`, got "
                f"{short(answer[:200])} ({type(error).__name__}: {error})."
            ) from error
        if (given := sorted(index for index, _ in found)) != list(range(n_texts)):
            raise DataError(
                f"{self._server} must return one embedding for each of the {n_texts} texts, with the `index` 0 to "
                f"{n_texts - 1}, got {len(given)} with the `index` {short(given)}."
            )
        if widths := sorted({one.shape for one in values} - {(self.dim,)}):
            raise ShapeError(
                f"{self._server} must return embeddings of width {self.dim}, got {widths[0]}: set `dim` to the width "
                "of the model, or `dimensions` if the server can shorten its embeddings."
            )
        return np.stack(values)

    def _said(self, error: HTTPError) -> str:
        """Return the beginning of the server's explanation, on one line and without the API key."""
        if 300 <= error.code < 400:
            address = short(error.headers.get("Location", ""))
            return f" to {address}: redirects are not followed, so set `url` to the last address"
        try:
            said = " ".join(error.read(2_000).decode(errors="replace").split())
        except OSError:
            return ""
        key = os.environ.get(self.api_key_env or "", "").strip()
        said = said.replace(key, "…") if key else said
        return f": {said[:300]}" if said else ""

    @property
    def _server(self) -> str:
        return f"Teacher {self.name!r}: {self.url}"

    def _refused(self, reason: str) -> str:
        named = "name the environment variable with the API key in `api_key_env`"
        if self.api_key_env is not None:
            named = f"check the API key in the environment variable {self.api_key_env}"
        return f"{self._server} refused access, {reason}: {named}."


def _numbers(given: str | list[float]) -> FloatArray:
    """Return one embedding; base64 holds little-endian float32 numbers."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(given, dtype=np.float32)


def _is_base(url: str) -> bool:
    """Return whether a URL has a host, a valid port if any, and no query."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # an invalid host or port
        return False


def _content(answer: HTTPResponse, until_s: float) -> bytes:
    """Return the content of an answer; a socket's own time limit is one of each packet.

    Raises:
        TimeoutError: The content is not complete at `until_s`, a time of the monotonic clock.
        IncompleteRead: The server has ended the answer too early.
    """
    named = answer.headers.get("Content-Length", "")
    length = int(named) if named.isdecimal() else None
    content = bytearray()
    while (length is None or len(content) < length) and (part := answer.read1(PART_BYTES)):
        content += part
        if time.monotonic() > until_s:
            raise TimeoutError("timed out")
    if length is not None and len(content) < length:
        raise IncompleteRead(bytes(content), length - len(content))
    return bytes(content)


def _seconds(headers: Message) -> float:
    """Return the waiting time of the header `Retry-After`; 0 if there is none, or if it is a date."""
    named = headers.get("Retry-After", "")
    return float(named) if named.isdecimal() else 0.0

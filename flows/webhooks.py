"""Webhooks: post a JSON object to a URL, which is a secret."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from flows.notification import Payload
from polydistill.errors import ParamsError, StageError

TIMEOUT_S = 10.0
SCHEMES = ("http", "https")


def post(url: str, payload: Payload, timeout_s: float = TIMEOUT_S) -> None:
    """Post a payload as JSON. Errors never contain the URL.

    Raises:
        ParamsError: `url` is not an HTTP URL.
        StageError: The receiver refused the request, or did not answer within `timeout_s` seconds.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise ParamsError("A webhook's URL must begin with http:// or https://.")
    body = json.dumps(payload, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "polydistill"}
    request = Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked above
    try:
        with urlopen(request, timeout=timeout_s):  # noqa: S310
            return
    except HTTPError as error:
        raise StageError(f"The webhook answered {error.code}.") from None
    except (OSError, HTTPException, ValueError) as error:
        raise StageError(f"The webhook did not answer: {type(error).__name__}.") from None

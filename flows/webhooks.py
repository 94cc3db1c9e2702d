"""Webhooks: a JSON object posted to a URL that nobody gets to read."""

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
    """Post a payload as JSON; the errors never name the URL.

    Raises:
        ParamsError: `url` is no HTTP address.
        StageError: The receiver refused it, or did not answer in `timeout_s`.
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

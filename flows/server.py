"""Short errors for an unreachable Prefect API, before a flow starts and while it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from polydistill.errors import InfrastructureError

UNREACHABLE = {502, 503, 504}
"""The status codes that a proxy returns when the server behind it is down."""
CREDENTIALS = re.compile(r"//[^@/]*@")


def require_reachable_api() -> None:
    """Check that the server of `PREFECT_API_URL` answers. If the variable is unset, do nothing.

    Raises:
        InfrastructureError: The server does not answer.
    """
    url = get_current_settings().api.url
    if url is None:
        return
    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        raise InfrastructureError(
            f"Prefect's API at {_shown(url)} does not answer ({type(failure).__name__}). Nothing was started. "
            "Start that server, or unset PREFECT_API_URL to use a temporary one."
        )


@contextmanager
def lost_server_explained() -> Iterator[None]:
    """Turn a lost connection to the server during a flow into one short error.

    Prefect retries for some minutes before it raises the error.

    Raises:
        InfrastructureError: The connection was lost.
    """
    try:
        yield
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        if (
            isinstance(error, httpx.HTTPStatusError)
            and error.response.status_code not in UNREACHABLE
        ):
            raise
        where = _shown(get_current_settings().api.url or "a temporary address")
        raise InfrastructureError(
            f"Prefect's API at {where} was lost while the flow ran ({type(error).__name__}). The "
            "outputs of finished stages are kept. Start that server and run again: the run resumes from there."
        ) from error


def _shown(url: str) -> str:
    return CREDENTIALS.sub("//", url)

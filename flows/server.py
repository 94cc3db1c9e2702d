"""Whether Prefect's API answers, before a flow starts and while it runs: its own errors are a page of trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from polydistill.errors import InfrastructureError

GONE = {502, 503, 504}
"""What stands before a server says so when it is not there."""
CREDENTIALS = re.compile(r"//[^@/]*@")


def require_answer() -> None:
    """See that the server of `PREFECT_API_URL` answers; without one, a temporary server will be started.

    Raises:
        InfrastructureError: It does not.
    """
    url = get_current_settings().api.url
    if url is None:
        return
    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        raise InfrastructureError(
            f"Prefect's API at {_shown(url)} does not answer ({type(failure).__name__}): nothing was started. "
            "Start that server, or unset PREFECT_API_URL to use a temporary one."
        )


@contextmanager
def present() -> Iterator[None]:
    """Explain a server that is lost while a flow runs; Prefect has tried for some minutes by then.

    Raises:
        InfrastructureError: It is lost.
    """
    try:
        yield
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in GONE:
            raise
        where = _shown(get_current_settings().api.url or "a temporary address")
        raise InfrastructureError(
            f"Prefect's API at {where} was lost while the flow ran ({type(error).__name__}). Whatever its "
            "stages have made is kept: start that server and run again, it goes on from there."
        ) from error


def _shown(url: str) -> str:
    return CREDENTIALS.sub("//", url)

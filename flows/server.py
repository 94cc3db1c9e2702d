"""Whether Prefect's API answers: asked once before a flow starts, where its own error would be a page of trace."""

from __future__ import annotations

import re

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from polydistill.errors import InfrastructureError

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
        shown = CREDENTIALS.sub("//", url)
        raise InfrastructureError(
            f"Prefect's API at {shown} does not answer ({type(failure).__name__}): nothing was started. "
            "Start that server, or unset PREFECT_API_URL to use a temporary one."
        )

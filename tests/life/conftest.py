from __future__ import annotations

from tests.flows.conftest import prefect_server as prefect_server  # noqa: PLC0414 - a fixture

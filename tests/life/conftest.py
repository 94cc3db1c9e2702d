from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import prefect_server as prefect_server  # noqa: PLC0414 - a fixture
from tests.life import preloaded


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """The folder of the preloaded programs."""
    with preloaded.served() as folder:
        yield folder

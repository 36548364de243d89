from collections.abc import Iterator
from pathlib import Path

import pytest

from modeling.inference.tests.running import Running, running_server, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """The gateway over a fake engine, ready."""
    with running_server(tmp_path) as running:
        wait_until(lambda: running.client.get("/health").status_code == 200)
        yield running


@pytest.fixture(scope="package")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same, for tests that leave it as they found it."""
    with running_server(tmp_path_factory.mktemp("shared")) as running:
        wait_until(lambda: running.client.get("/health").status_code == 200)
        yield running

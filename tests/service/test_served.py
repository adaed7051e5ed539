"""A level that is served: what its requests hold, and what they do not wait for."""

from __future__ import annotations

import threading
from pathlib import Path

from service.catalog import Catalog
from service.settings import Settings
from tests.service.conftest import wait_until


def test_nobody_waits_for_networks_to_be_built_who_needs_none(digits_store: Path) -> None:
    """A request is counted, as the event loop does it, while another thread builds; what is held is not released."""
    catalog = Catalog(Settings(store=digits_store))
    served = catalog.level(None, None, "p50")
    building = threading.Thread(target=served.engine, args=(64,))
    building.start()
    wait_until(served._building.locked)
    with served.held():
        assert served.bank is None
        building.join()
        assert served.ready(64)
        served.release()
        assert served.ready(64)
    assert served.bank is None
    catalog.close()

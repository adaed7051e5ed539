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


def test_letting_go_waits_for_no_building(digits_store: Path) -> None:
    """Neither does who may be answered at once, and nobody is before there is something to answer with."""
    catalog = Catalog(Settings(store=digits_store))
    served = catalog.level(None, None, "p50")
    with served._building:
        served.release()
        assert served.engine_at_once(4) is None
    engine = served.engine(4)
    with served._building:
        assert served.engine_at_once(4) is engine
        assert served.engine_at_once(4096) is None
        served.release()
        assert served.engine_at_once(4) is None
    catalog.close()

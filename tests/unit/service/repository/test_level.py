"""A level that is served: what its requests hold, and what they do not wait for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from service.repository.repository import ModelRepository
from service.scheduling.job import Job
from service.settings import Settings
from tests.support.http import PNG
from tests.support.services import Warm, wait_until


def test_nobody_waits_for_networks_to_be_built_who_needs_none(digits_store: Path) -> None:
    """A request is counted, as the event loop does it, while another thread builds; what is held is not released."""
    catalog = ModelRepository(Settings(store=digits_store))
    served = catalog.model(None).version(None).level("p50")
    building = threading.Thread(target=served.engine, args=(64,))
    building.start()
    wait_until(served._building.locked)
    with served.in_use(64):
        assert served.bank is None
        building.join()
        assert served.ready(64)
        served.release()
        assert served.ready(64)
    assert served.bank is None
    catalog.close()


def test_letting_go_waits_for_no_building(digits_store: Path) -> None:
    """Neither does who may be answered at once, and nobody is before there is something to answer with."""
    catalog = ModelRepository(Settings(store=digits_store))
    served = catalog.model(None).version(None).level("p50")
    with served._building:
        served.release()
        assert served.prepared_engine(4) is None
    engine = served.engine(4)
    with served._building:
        assert served.prepared_engine(4) is engine
        assert served.prepared_engine(4096) is None
        served.release()
        assert served.prepared_engine(4) is None
    catalog.close()


def test_an_answer_costs_its_draws_and_what_they_share(digits_store: Path) -> None:
    """On all threads, each image; where networks must be built, nobody knows."""
    catalog = ModelRepository(Settings(store=digits_store))
    served = catalog.model(None).version(None).level("p50")
    assert served.seconds(3, 4.0, 4) == 0
    engine = served.engine(4)
    assert engine.seconds_shared > 0
    expected = 3 * (4 * engine.seconds_per_draw + engine.seconds_shared) / catalog.runtime.num_workers
    assert served.seconds(3, 4.0, 4) == pytest.approx(expected)
    catalog.close()


def test_no_more_draws_are_made_than_there_is_time_for(digits_store: Path) -> None:
    """What is made by the deadline answers, and is the first of what is made later."""
    catalog = ModelRepository(Settings(store=digits_store))
    served = catalog.model(None).version(None).level("p50")
    engine = served.engine(4096, latest=time.monotonic() + 1)
    made = engine.bank.draws
    assert 0 < made < 4096
    image_1HWC = np.zeros((1, 8, 8, 1), np.uint8)
    job = Job(engine, image_1HWC, 4096, lambda logits_SNK, stop, _: [(len(logits_SNK), stop)], deadline=None)
    catalog.runtime.scheduler.submit(job)
    assert job.future.result(60) == [(made, "deadline")]
    assert served.engine(made + 2 * engine.bank.size).bank.draws == made + 2 * engine.bank.size
    catalog.close()


def test_a_deadline_that_has_passed_leaves_one_pack(digits_store: Path) -> None:
    catalog = ModelRepository(Settings(store=digits_store))
    engine = catalog.model(None).version(None).level("p50").engine(64, latest=time.monotonic())
    assert engine.bank.draws == engine.bank.size
    catalog.close()


def test_a_deadline_while_networks_are_built_is_answered(digits_store: Path, example: bytes) -> None:
    """With the draws that there are, and with more of them where there is more time."""
    with Warm(digits_store, max_samples=4096) as client:
        draws, deadline_ms = list[int](), 300.0
        while len(draws) < 2:
            query = {"samples": 4096, "deadline_ms": deadline_ms}
            response = client.post("/predict", params=query, content=example, headers=PNG)
            deadline_ms *= 1.5
            if response.status_code != 504:  # as a machine may be so busy that there is not one draw by then
                said = response.json()["predictions"][0]["monte_carlo"]
                assert said["stop"] == "deadline"
                draws.append(said["draws"])
        assert 0 < draws[0] < draws[1] < 4096

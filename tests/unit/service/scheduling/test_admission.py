"""The bound on waiting work, what a client is told who comes too late, and how far answers are degraded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.errors import OverloadedError
from service.scheduling.admission import STEPS, Admission
from service.scheduling.job import Job
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.open_inference import refused
from tests.support.scheduling import Sure
from tests.support.services import wait_until


def test_work_is_bounded() -> None:
    """As much as the limit, no more; what is done makes room, also when it failed."""
    admission = Admission(10, 1.0, degrade=False)
    with admission.admit(6, 0.0), admission.admit(4, 0.0):
        with pytest.raises(OverloadedError), admission.admit(1, 0.0):
            pass
        assert admission.waiting == 10
    with pytest.raises(ZeroDivisionError), admission.admit(3, 0.5):
        raise ZeroDivisionError
    assert (admission.waiting, admission.wait_s) == (0, 0)


def test_a_request_larger_than_the_limit_is_admitted_alone() -> None:
    """Otherwise nobody could ever answer it."""
    admission = Admission(10, 1.0, degrade=False)
    with admission.admit(50, 60.0), pytest.raises(OverloadedError), admission.admit(1, 0.0):
        pass
    with admission.admit(1, 0.0), pytest.raises(OverloadedError), admission.admit(50, 0.0):
        pass


def test_the_wait_is_bounded() -> None:
    """By what all may wait, and by the request's own deadline; it says when the queue will be done."""
    admission = Sure(1000, 4.0, degrade=False)
    with admission.admit(1, 2.5):
        with pytest.raises(OverloadedError) as refused, admission.admit(1, 2.1):
            pass
        assert refused.value.retry_after == 3
        with pytest.raises(OverloadedError), admission.admit(1, 1.0, deadline_s=1.9):
            pass
        with admission.admit(1, 1.0, deadline_s=2.1):
            assert admission.wait_s == pytest.approx(3.5)


def test_a_small_request_waits_for_no_more_than_its_turns() -> None:
    """However much work another has; where nobody knows how small it is, it may wait for all."""
    admission = Sure(1000, 4.0, degrade=False)
    with admission.admit(1, 60.0):
        with admission.admit(1, 0.1, deadline_s=0.3), admission.admit(1, 0.1, deadline_s=0.31):
            pass
        with pytest.raises(OverloadedError), admission.admit(1, 0.0):
            pass


def test_a_request_tells_what_it_has(digits_store: Path, example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler what it should take, and admission how much of that is done and whether it was cut short."""
    app = create_app(Settings(store=digits_store))
    with TestClient(app) as client:
        ask(client, example, samples=4)
        admission, scheduler = (
            app.state.service.repository.runtime.admission,
            app.state.service.repository.runtime.scheduler,
        )
        submit, waits, cut = scheduler.submit, list[float](), True

        def looked(job: Job) -> None:
            assert job.work.expected_s > 0
            waits.append(admission.wait_s / (job.work.expected_s * admission.latency.slope))
            job.work.service_time_s = job.work.expected_s
            waits.append(admission.wait_s)
            job.work.truncated = cut
            submit(job)

        monkeypatch.setattr(scheduler, "submit", looked)
        before = admission.latency.intercept, admission.latency.slope
        ask(client, example, samples=4)
        assert waits == [pytest.approx(1.0), 0.0]
        assert (admission.latency.intercept, admission.latency.slope) == before
        cut = False
        ask(client, example, samples=4)
        assert (admission.latency.intercept, admission.latency.slope) != before


def test_small_requests_that_wait_keep_no_large_one_out() -> None:
    """By however many times their own work they were late: a request takes no more than four times what it should."""
    admission = Admission(1000, 1.0, degrade=False)
    admission.latency.deviation = 100.0
    with admission.admit(1, 0.001):
        admission.check(1, 0.24)
        with pytest.raises(OverloadedError):
            admission.check(1, 0.26)


def test_what_is_done_is_waited_for_no_more() -> None:
    """Neither by who comes next, nor in what clients are told; more than it should take it has not to do."""
    admission = Sure(1000, 1.0, degrade=False)
    with admission.admit(1, 0.8) as before:
        with pytest.raises(OverloadedError), admission.admit(1, 0.6):
            pass
        before.service_time_s = 0.5
        assert admission.wait_s == pytest.approx(0.3)
        with admission.admit(1, 0.6):
            before.service_time_s = 2.0
            assert admission.wait_s == pytest.approx(0.6)


# In full and at each step.
COSTS = [(32, 0.4), (8, 0.2), (4, 0.1), (2, 0.05), (2, 0.02)]


def test_no_more_is_taken_away_than_must_be() -> None:
    """The first step that is done within half of the longest wait, else the last."""
    admission = Sure(1000, 1.0, degrade=True)
    steps = []
    with ExitStack() as waiting:
        for _ in range(40):
            steps.append(admission.step(COSTS))
            waiting.enter_context(admission.admit(*COSTS[steps[-1]]))
            assert admission.degradation_step == steps[-1]
        assert steps[0] == 0
        assert steps == sorted(steps)
        assert set(steps) == set(range(STEPS + 1))
        assert admission.step([(1, 0.001)] * len(COSTS)) == 0  # one that is small enough is done in full
    assert admission.degradation_step == 0
    assert admission.step(COSTS) == 0


def test_a_small_request_is_not_cut_for_a_large_one() -> None:
    """It waits for no more than its turns; whoever has a deadline or a full queue before it is cut to fit."""
    admission = Sure(100, 1.0, degrade=True)
    with admission.admit(90, 60.0):
        small = [(8, 0.1), (4, 0.05), (2, 0.02)]
        assert admission.step(small) == 0
        assert admission.step(small, deadline_s=0.11) == 1
        assert admission.step([(16, 0.1), *small]) == 1
        assert admission.step([(16, 0.4), (16, 0.3)]) == 1


def test_who_may_not_degrade_never_does() -> None:
    """Whatever waits."""
    admission = Admission(1000, 1.0, degrade=False)
    with admission.admit(1, 50.0):
        assert admission.step(COSTS) == 0


@pytest.fixture
def full(digits_store: Path) -> Iterator[TestClient]:
    """A service whose queue is taken."""
    app = create_app(Settings(store=digits_store, max_queue=1))
    with TestClient(app) as client, app.state.service.repository.runtime.admission.admit(1, 0.0):
        yield client


def test_full_queue(full: TestClient, example: bytes) -> None:
    """503, and when to come back in whole seconds; health and the listing are not affected."""
    response = full.post("/predict", content=example, headers=PNG)
    assert "try again in" in refusal(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    response = full.post("/v2/models/digits/infer", json={"inputs": []})
    assert "try again in" in refused(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    assert full.get("/livez").status_code == 200
    assert full.get("/models").status_code == 200


def test_afterwards_it_answers(digits_store: Path, example: bytes) -> None:
    """Once the work is done there is room again."""
    app = create_app(Settings(store=digits_store, max_queue=1))
    with TestClient(app) as client:
        with app.state.service.repository.runtime.admission.admit(1, 0.0):
            assert client.post("/predict", content=example, headers=PNG).status_code == 503
        assert ask(client, example)["predictions"]


def test_degraded_answers_say_so(digits_store: Path, tmp_path: Path, example: bytes) -> None:
    """Fewer draws at first, then a more pruned level, for those who named none; what a request names it gets."""
    store = tmp_path / "store"
    shutil.copytree(digits_store, store)
    (path,) = store.glob("digits/*/manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"default_level": "p50"}))
    app = create_app(Settings(store=store, overload="degrade"))
    with TestClient(app) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)  # the next level is warm then, too
        assert ask(client, example)["degraded"] is None
        served = app.state.service.repository.model("digits").version(None).level("p50")

        def slow(share: float) -> None:
            """An answer of two draws takes this share of the time within which nothing is taken away."""
            admission: Admission = app.state.service.repository.runtime.admission
            admission.latency.slope, admission.latency.deviation = share * 0.5 / (2 * served.seconds(1, 2.0, 2)), 0.0

        with app.state.service.repository.runtime.admission.admit(1, 60.0):
            slow(0.9)
            few = ask(client, example)
            assert few["degraded"] == {"samples": 2, "instead_of": None}
            assert few["predictions"][0]["monte_carlo"]["draws"] == 2
            assert client.get("/status").json()["load"]["step"] == STEPS - 1
            slow(1.3)
            other = ask(client, example)
            assert (other["level"], other["degraded"]) == ("p90", {"samples": 2, "instead_of": "p50"})
            named = ask(client, example, level="p50")
            assert (named["level"], named["degraded"]) == ("p50", {"samples": 2, "instead_of": None})
            slow(0.4)
            exact = ask(client, example, samples=9)
            assert exact["degraded"] is None
            assert exact["predictions"][0]["monte_carlo"]["draws"] == 9

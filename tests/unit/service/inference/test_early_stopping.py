"""When answers settle: laws of the rule, and that it is right about what it calls settled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from scipy.stats import t as student

from model_store.manifest import Score, Strangeness
from model_store.onnx_file.draws import member_and_noise
from service.inference.early_stopping import STUDENT, EarlyStopping, checkpoints
from service.inference.ood import SCORES
from service.inference.uncertainty import Draws, Predictive

RULE = EarlyStopping(temperature=1.0, abstain_above=0.9, tolerance=0.02)


@cache
def antithetic(images: int, draws: int, spread: float) -> np.ndarray:
    """Logits [S, N, 10] of images from easy to hard, whose draws come in pairs that are nearly mirrored."""
    generator = np.random.default_rng(0)
    centre = generator.normal(0, 2.5, (images, 10))
    noise = np.repeat(generator.normal(0, spread, (draws // 2, images, 10)), 2, 0)
    noise[1::2] *= -1
    logits = (centre + noise + 0.1 * spread * generator.normal(size=noise.shape)).astype(np.float32)
    logits.flags.writeable = False  # all tests share it
    return logits


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Logits are drawn once for this module, and are no other's memory."""
    yield
    antithetic.cache_clear()


@pytest.mark.parametrize("freedom", STUDENT)
def test_quantiles(freedom: int) -> None:
    """Student's t at 99 %, two-sided."""
    assert STUDENT[freedom] == pytest.approx(student.ppf(0.995, freedom), abs=1e-3)


def test_checkpoints_have_quantiles() -> None:
    """For draws of a single network and for pairs of them."""
    assert all(draws - 1 in STUDENT and draws // 2 - 1 in STUDENT for draws in checkpoints(1))


@pytest.mark.parametrize(("members", "first"), [(1, 4), (2, 4), (3, 6), (4, 4), (5, 5), (16, 16)])
def test_checkpoints_hold_whole_rounds(members: int, first: int) -> None:
    """Every member has as many draws at each, from the first on, and each its partner from the second on."""
    found = checkpoints(members)
    assert found[0] == first
    for draws in found:
        turns = [member_and_noise(draw, members)[0] for draw in range(draws)]
        assert {turns.count(member) for member in range(members)} == {draws // members}
    assert all(draws % (2 * members) == 0 for draws in found[1:])


def test_equal_draws_settle_at_once() -> None:
    """There is nothing that more of them could change, unless they tie."""
    logits = np.zeros((4, 2, 3), np.float32)
    logits[:, 0, 1] = 4.0
    assert RULE.converged(Draws.from_logits(logits, 1.0)).tolist() == [True, False]


def test_a_decision_on_the_edge_does_not_settle() -> None:
    """Neither where the entropy is at the threshold, nor where two classes are as probable."""
    logits = antithetic(1, 16, 0.3)
    edge = float(entropy(softmax(logits, -1).mean(0), axis=-1)[0])
    assert not EarlyStopping(1.0, edge + 1e-6, 1.0).converged(Draws.from_logits(logits, 1.0))[0]
    tie = logits.copy()
    tie[:, 0, :2] = 9.0, 9.0
    tie[::2, 0, 0] += 0.5
    tie[1::2, 0, 1] += 0.5
    assert not EarlyStopping(1.0, 5.0, 1.0).converged(Draws.from_logits(tie, 1.0))[0]


def test_tolerance() -> None:
    """The top probability must be known as well as was asked."""
    logits = antithetic(200, 8, 1.0)
    strict, lax = (
        EarlyStopping(1.0, 0.9, tolerance).converged(Draws.from_logits(logits, 1.0)) for tolerance in (1e-4, 1.0)
    )
    assert not strict.any()
    assert lax.any()


@pytest.mark.parametrize("draws", [4, 8, 32])
def test_the_tolerance_is_of_what_is_reported(draws: int) -> None:
    """An answer that converged reports no larger standard error, and nothing else holds up certain decisions."""
    found = Draws.from_logits(antithetic(500, draws, 0.5), 1.0)
    error_N, lax = Predictive.from_draws(found).standard_error, EarlyStopping(1.0, 0.9, 1.0)
    assert error_N is not None
    tolerance = float(np.median(error_N[lax.converged(found)]))
    converged_N = EarlyStopping(1.0, 0.9, tolerance).converged(found)
    clear_N = np.abs(error_N - tolerance) > 1e-12
    assert (converged_N == (lax.converged(found) & (error_N <= tolerance)))[clear_N].all()
    assert 0 < converged_N.sum() < lax.converged(found).sum()


def test_it_is_right() -> None:
    """Of what it calls settled, 1,024 draws decide at most 1 % otherwise; and it saves most of them."""
    logits = antithetic(1000, 1024, 0.5)
    p = softmax(logits, -1)
    full = p.mean(0)
    used = np.full(len(full), 1024)
    for block in reversed(checkpoints(1)[:-1]):
        used[RULE.converged(Draws.from_logits(logits[:block], 1.0))] = block
    ours = np.stack([p[:draws, image].mean(0) for image, draws in enumerate(used)])
    agrees = (ours.argmax(1) == full.argmax(1)) & ((entropy(ours, axis=-1) > 0.9) == (entropy(full, axis=-1) > 0.9))
    assert agrees[used < 1024].mean() >= 0.99
    assert np.median(used) <= 16


# Out of distribution


def measured(logits_SNK: np.ndarray, score: Score) -> tuple[np.ndarray, np.ndarray]:
    """The mean prediction [N, K] of images, and how strange they are [N]."""
    draws = Draws.from_logits(logits_SNK, 1.0)
    return draws.mean, SCORES[score](draws).mean(0)


def decisions(mean_NK: np.ndarray, strange_N: np.ndarray, above: float) -> np.ndarray:
    """Of each image, its class and whether it is accepted, uncertain or out of distribution, as one number."""
    reason_N = np.where(strange_N > above, 2, entropy(mean_NK, axis=-1) > 0.9)
    return 10 * mean_NK.argmax(1) + reason_N


@pytest.mark.parametrize("score", SCORES)
def test_equal_draws_settle_at_once_with_every_score(score: Score) -> None:
    """Also where there is no mutual information at all."""
    logits = np.zeros((4, 1, 3), np.float32)
    logits[:, 0, 1] = 2.0
    assert EarlyStopping(1.0, 0.9, 0.02, Strangeness(score=score, above=1.0)).converged(Draws.from_logits(logits, 1.0))[
        0
    ]


@pytest.mark.parametrize("score", SCORES)
def test_strangeness_on_the_edge_does_not_settle(score: Score) -> None:
    """An image at the threshold may be on either side of it; far from it, it settles as without one."""
    logits = antithetic(1, 64, 0.3)
    edge = float(measured(logits, score)[1][0])
    without = EarlyStopping(1.0, 5.0, 1.0)
    assert without.converged(Draws.from_logits(logits, 1.0))[0]
    for factor in (0.999, 1.001):
        assert not EarlyStopping(1.0, 5.0, 1.0, Strangeness(score=score, above=factor * edge)).converged(
            Draws.from_logits(logits, 1.0)
        )[0]
    assert EarlyStopping(1.0, 5.0, 1.0, Strangeness(score=score, above=edge + 10)).converged(
        Draws.from_logits(logits, 1.0)
    )[0]
    assert EarlyStopping(1.0, 5.0, 1.0, Strangeness(score=score, above=edge - 10)).converged(
        Draws.from_logits(logits, 1.0)
    )[0]


def test_a_stranger_need_not_be_known_to_be_uncertain() -> None:
    """Out of distribution is what it is called, on whichever side of the other threshold its entropy is."""
    logits = antithetic(1, 16, 0.3)
    edge = float(entropy(softmax(logits, -1).mean(0), axis=-1)[0]) + 1e-6
    assert EarlyStopping(1.0, edge, 1.0, Strangeness(score="energy", above=-1e3)).converged(
        Draws.from_logits(logits, 1.0)
    )[0]
    assert not EarlyStopping(1.0, edge, 1.0, Strangeness(score="energy", above=1e3)).converged(
        Draws.from_logits(logits, 1.0)
    )[0]


@pytest.mark.parametrize("share", [0.2, 0.05])
@pytest.mark.parametrize("score", SCORES)
def test_it_is_right_of_strangers(score: Score, share: float) -> None:
    """Of what it calls settled, 1,024 draws decide at most 1 % otherwise, where this share of images is strange."""
    logits = antithetic(1000, 1024, 0.5)
    mean, strange = measured(logits, score)
    above = float(np.quantile(strange, 1 - share))
    full = decisions(mean, strange, above)
    rule = EarlyStopping(1.0, 0.9, 0.02, Strangeness(score=score, above=above))
    left, wrong = np.arange(len(full)), 0
    for block in checkpoints(1)[:-1]:
        settled = rule.converged(Draws.from_logits(logits[:block, left], 1.0))
        ours = decisions(*measured(logits[:block, left[settled]], score), above)
        wrong += int((ours != full[left[settled]]).sum())
        left = left[~settled]
    assert wrong <= 0.01 * (len(full) - len(left))
    assert len(left) < (0.4 if score == "mutual_information" else 0.05) * len(full)


def mixture(images: int, draws: int, members: int, apart: float, spread: float) -> np.ndarray:
    """Logits of members that differ and take turns, each with antithetic pairs."""
    logits = antithetic(images, draws, spread)
    offsets = np.random.default_rng(1).normal(0, apart, (members, images, 10))
    turns = [member_and_noise(draw, members) for draw in range(draws)]
    return np.stack([logits[number] + offsets[member] for member, number in turns]).astype(np.float32)


@pytest.mark.parametrize("members", [2, 3, 4])
def test_it_is_right_of_mixtures(members: int) -> None:
    """What members differ by delays no answer for long, and of those that settle at most 1 % would change."""
    tested = checkpoints(members)
    most = tested[-1]
    logits = mixture(1000, most, members, 0.8, 0.3)
    p, rule = softmax(logits, -1), EarlyStopping(1.0, 0.9, 0.02, members=members)
    full, used = p.mean(0), np.full(1000, most)
    for draws in reversed(tested[:-1]):
        used[rule.converged(Draws.from_logits(logits[:draws], 1.0, members))] = draws
    ours = np.stack([p[:draws, image].mean(0) for image, draws in enumerate(used)])
    agrees = (ours.argmax(1) == full.argmax(1)) & ((entropy(ours, axis=-1) > 0.9) == (entropy(full, axis=-1) > 0.9))
    assert agrees[used < most].mean() >= 0.99
    assert np.median(used) <= 8 * members


def test_members_that_agree_with_themselves_settle_after_two_rounds() -> None:
    """However much they differ from each other: more draws would repeat them."""
    logits = np.tile(np.array([[3.0, 0.0, 0.0], [2.0, 1.0, 0.0]], np.float32), (2, 1))[:, None]
    rule = EarlyStopping(1.0, 0.5, 0.001, members=2)
    assert not rule.converged(Draws.from_logits(logits, 1.0, 2))[0]
    assert rule.converged(Draws.from_logits(np.tile(logits, (2, 1, 1)), 1.0, 2))[0]

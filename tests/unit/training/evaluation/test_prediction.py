"""Draws of the predictive distribution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels
from training.evaluation import prediction
from training.evaluation.prediction import batches, draw_logits, drawing
from training.progress import Stage

PIXELS = Pixels(2, 2, 1, (0.5,), (0.25,))


def case(scale: float) -> tuple[nn.Module, Posterior, Tensor]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    posterior = Posterior(
        {"1.weight": GaussianWeight(torch.randn(3, 4), torch.full((3, 4), scale))}, {"1.bias": torch.randn(3)}
    )
    return plain, posterior, torch.randint(0, 256, (6, 2, 2, 1), dtype=torch.uint8)


def drawn(plain: nn.Module, posterior: Posterior, images: Tensor, num_draws: int, seed: int = 0) -> Tensor:
    with Stage("testing", num_draws * len(images), quiet=True) as stage:
        draw = drawing(plain, posterior, PIXELS, torch.Generator().manual_seed(seed))
        logits_SNK = draw_logits(draw, images, num_draws, stage)
        assert stage.done == stage.total
    return logits_SNK


def draws(scale: float, seed: int = 0, num_draws: int = 5) -> Tensor:
    return drawn(*case(scale), num_draws, seed)


def test_without_scale_every_draw_is_the_network_at_the_mean() -> None:
    plain, posterior, images = case(0.0)
    plain.load_state_dict(posterior.mean())
    expected = plain(PIXELS.normalise(images)).detach()
    torch.testing.assert_close(draws(0.0), expected.expand(5, 6, 3))


def test_every_image_sees_the_same_networks() -> None:
    """Logits are linear in the image here, so that one drawn network explains those of all images."""
    _, posterior, images = case(0.5)
    found, x = draws(0.5), PIXELS.normalise(images).flatten(1)
    for logits_NK in found:
        centred = logits_NK - posterior.rest["1.bias"]
        weight = torch.linalg.lstsq(x, centred).solution
        torch.testing.assert_close(x @ weight, centred, atol=1e-4, rtol=1e-4)
    assert (found.std(0) > 0.01).all()


def test_the_division_into_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draws(0.5)
    monkeypatch.setattr(prediction, "MAX_BATCH", 4)
    torch.testing.assert_close(draws(0.5), whole)


@pytest.mark.parametrize(("side", "sizes"), [(8, [100, 50]), (32, [100, 50]), (224, [7] * 21 + [3]), (700, [1] * 150)])
def test_batches_of_large_images_are_smaller(side: int, sizes: list[int]) -> None:
    images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(150, side, side, 3)
    assert [len(batch) for batch in batches(images)] == sizes


def test_draws_are_a_function_of_the_generator() -> None:
    assert torch.equal(draws(0.5, seed=1), draws(0.5, seed=1))
    assert not torch.equal(draws(0.5, seed=1), draws(0.5, seed=2))


def test_draws_have_the_closed_form_variance() -> None:
    _, _, images = case(0.5)
    found = draws(0.5, num_draws=4_000)
    var = 0.25 * PIXELS.normalise(images).flatten(1).square().sum(1)
    assert ((found.var(0) / var[:, None] - 1).abs() < 5 * (2 / 4_000) ** 0.5).all()


def test_normalisation_uses_its_running_statistics() -> None:
    """A draw of one image is the same alone and among others."""
    plain = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    state = Posterior({}, {name: tensor.clone() for name, tensor in plain.state_dict().items()})
    images = case(0.0)[2]
    together = drawn(plain.train(), state, images, 1)
    torch.testing.assert_close(drawn(plain.train(), state, images[:1], 1), together[:, :1])

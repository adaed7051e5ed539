"""`sb.fit` is `slimbayes train` in one line, also for data and networks of one's own; and loops of one's own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

import slimbayes as sb
from pruning.cli.prune import app as prune_app
from pruning.errors import PosteriorError, TraceError
from slimbayes.fitting import Settings
from training.architectures import architecture
from training.cli.train import app as train_app
from training.data.dataset import Dataset
from training.data.digits import load
from training.errors import DataError, RecipeError, RunError

FEW: Settings = {"epochs": 1, "limit": 200}
# The recipe of the digits, which data in memory do not take by themselves.
DIGITS: Settings = {
    "estimator": "flipout",
    "batch_size": 32,
    "learning_rate": 0.005,
    "rise": 0.05,
    "initial_scale": 0.02,
    "augmentation": "none",
    "precision": "float32",
}


def arrays() -> tuple[Any, Any]:
    """All digits, as a user has them: uint8 [N, 8, 8] and labels [N]."""
    images = load(None).train
    return images.pixels.squeeze(-1).numpy(), images.labels.numpy()


def own_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10))


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line on few digits."""
    folder = tmp_path_factory.mktemp("command") / "run"
    result = CliRunner().invoke(train_app, ["--epochs", "1", "--limit", "200", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


def test_the_posterior_is_the_command_lines_bit_for_bit(commanded: Path, tmp_path: Path) -> None:
    """By the name of the data set; and a module and arrays of one's own under the same recipe."""
    named = sb.fit("convnet", "digits", out=tmp_path / "run", **FEW)
    assert (tmp_path / "run" / "posterior.safetensors").read_bytes() == (
        commanded / "posterior.safetensors"
    ).read_bytes()
    expected = sb.TrainedRun.load(sb.Run(commanded))
    own = sb.fit(architecture("convnet", 1, 10, seed=0), arrays(), **FEW, **DIGITS)
    for found in (named, own):
        assert found.posterior.weights.keys() == expected.posterior.weights.keys()
        for name, weight in expected.posterior.weights.items():
            assert torch.equal(found.posterior.weights[name].mean, weight.mean)
            assert torch.equal(found.posterior.weights[name].scale, weight.scale)
        assert all(torch.equal(found.posterior.rest[name], each) for name, each in expected.posterior.rest.items())
    assert own.quality == named.quality == sb.Run(commanded).quality()
    assert "359" not in repr(own)
    assert f"accuracy {own.quality['accuracy']:.2%} of 200 test images" in repr(own)


def test_the_users_module_stays_as_it_is() -> None:
    network = own_network().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    posterior = sb.fit(network, arrays(), **FEW, **DIGITS)
    assert type(network[0]) is nn.Conv2d
    assert not network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert posterior.recipe.architecture == "torch.nn.modules.container.Sequential"
    assert posterior.module(posterior.posterior)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_torch_data_set_is_its_arrays() -> None:
    """Of tensors [C, H, W] and labels, under the name of its class."""
    pixels, labels = map(torch.as_tensor, arrays())
    items = sb.load_data(TensorDataset(pixels[:, None], labels), seed=3)
    expected = sb.load_data((pixels, labels), seed=3)
    for part in ("train", "calibration", "test"):
        assert torch.equal(getattr(items, part).pixels, getattr(expected, part).pixels)
        assert torch.equal(getattr(items, part).labels, getattr(expected, part).labels)
    assert (items.name, expected.name) == ("torch.utils.data.dataset.TensorDataset", "arrays")


def test_the_same_call_returns_the_run_in_its_folder(tmp_path: Path) -> None:
    data, network, out = arrays(), own_network(), tmp_path / "run"
    first = sb.fit(network, data, out=out, **FEW, **DIGITS)
    written = (out / "posterior.safetensors").stat().st_mtime_ns
    again = sb.fit(network, data, out=out, **FEW, **DIGITS)
    assert (out / "posterior.safetensors").stat().st_mtime_ns == written
    assert all(torch.equal(w.mean, again.posterior.weights[n].mean) for n, w in first.posterior.weights.items())
    with pytest.raises(RunError, match="other pixels"):
        sb.fit(network, (data[0] // 2, data[1]), out=out, **FEW, **DIGITS)
    other = nn.Sequential(network[0], nn.SiLU(), *list(network)[2:])
    with pytest.raises(RunError, match="was started with another network"):
        sb.fit(other, data, out=out, **FEW, **DIGITS)
    with pytest.raises(RunError, match=r"was made with beta 0\.03"):
        sb.fit(network, data, out=out, beta=0.5, **FEW, **DIGITS)
    result = CliRunner().invoke(prune_app, [str(out), "--levels", "p50", "--store", str(tmp_path / "store")])
    assert result.exit_code == 1
    assert "is of a network that only the program has that trained it" in result.stderr


class Branching(nn.Module):
    """Cannot be traced: its way depends on its images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) if x.sum() > 0 else self.layer(-x.flatten(1))


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (Branching(), TraceError, "cannot be traced"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), RecipeError, r"\[1, 7\].*expected logits \[1, 10\]"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), RecipeError, r"8x8 pixels, float32 \[1, 1, 8, 8\]"),
        (nn.LSTM(8, 10), RecipeError, "cannot take images"),
        ("vit", RecipeError, "unknown architecture 'vit'"),
    ],
)
def test_a_network_that_is_unfit_is_refused_before_training(
    network: nn.Module | str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("training.trainer.train.fit", trained)
    with pytest.raises(error, match=message):
        sb.fit(network, arrays(), **FEW, **DIGITS)


def test_steps_are_those_of_the_command_line(tmp_path: Path) -> None:
    """As many epochs as they take, and no epochs beside them."""
    result = CliRunner().invoke(train_app, ["--steps", "8", "--limit", "200", "--out", str(tmp_path / "commanded")])
    assert result.exit_code == 0, result.output
    found = sb.fit("convnet", "digits", steps=8, limit=200, out=tmp_path / "run")
    assert found.recipe.epochs == 2  # of 6 or 7 steps
    assert found.recipe == sb.Run(tmp_path / "commanded").recipe()
    assert (tmp_path / "run" / "posterior.safetensors").read_bytes() == (
        tmp_path / "commanded" / "posterior.safetensors"
    ).read_bytes()
    for number, epochs in ((8, 2), (0, None)):
        with pytest.raises(RecipeError, match=f"steps={number}: expected 1 at least, and no epochs"):
            sb.fit(
                "convnet",
                "digits",
                limit=200,
                steps=number,
                **Settings() if epochs is None else Settings(epochs=epochs),
            )


def test_steps_fit_small_data() -> None:
    """Whose batches are as small as without them."""
    few = tuple(each[:40] for each in arrays())
    found = sb.fit(own_network(), few, steps=10)
    assert (found.recipe.batch_size, found.recipe.epochs) == (8, 3)


def test_the_settings_are_the_recipes() -> None:
    assert Settings.__annotations__.keys() == {field.name for field in fields(sb.Recipe)} - {"data", "architecture"}


def test_what_belongs_to_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        sb.load_data(tmp_path / "missing")
    with pytest.raises(DataError, match="this data set has its own"):
        sb.load_data("digits", classes=["a", "b"])
    with pytest.raises(DataError, match="of a data set by name"):
        sb.load_data(tmp_path, data_dir=tmp_path)


def test_ranks_need_a_folder_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    @contextmanager
    def two(_: str) -> Any:
        from training.distributed.world import World

        yield World(1, 2, torch.device("cpu"))

    monkeypatch.setattr("slimbayes.fitting.join_world", two)
    with pytest.raises(RecipeError, match="2 ranks train together"):
        sb.fit("convnet", "digits")


def steps(data: Dataset, count: int = 30) -> Any:
    """Batches of the training part, normalised as the served network does."""
    for step in range(count):
        index = torch.randint(len(data.train), (32,), generator=torch.Generator().manual_seed(step))
        yield data.pixels.normalise(data.train.pixels[index]), data.train.labels[index]


def loop_of_layers(data: Dataset) -> sb.Posterior:
    """A loop of one's own over Bayesian layers."""
    network = sb.bayesianize(own_network(), sb.flipout, prior_scale=0.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for x, labels in steps(data):
        loss = F.cross_entropy(network(x), labels) + 0.03 / len(data.train) * sb.kl(network)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return sb.read_posterior(network)


def loop_of_ivon(data: Dataset) -> sb.Posterior:
    """A loop of one's own over a plain network under IVON."""
    network = own_network()
    optimizer = sb.IVON.over(
        *(network, len(data.train), 32), lr=1.0, prior_scale=0.1, initial_scale=0.01, memory_images=200, beta=0.01
    )
    for x, labels in steps(data):
        optimizer.zero_grad()
        with optimizer.sampled_params():
            F.cross_entropy(network(x), labels).backward()
        optimizer.step()
    return optimizer.posterior(network)


@pytest.mark.parametrize("loop", [loop_of_layers, loop_of_ivon])
def test_the_posterior_of_a_loop_of_ones_own_is_pruned(loop: Any) -> None:
    torch.manual_seed(0)
    data = sb.load_data(arrays(), limit=1_000)
    posterior = sb.adopt(own_network(), loop(data), data, estimator="ivon", prior_scale=0.1)
    assert posterior.posterior.random
    dense, p50 = sb.prune(posterior, ["p50"], granularity="weight", epochs=0, draws=4)
    assert dense.evaluation.metrics.accuracy > 0.4
    assert p50.sparsity > 0.4
    with pytest.raises(PosteriorError, match="of another architecture"):
        sb.adopt("convnet", posterior.posterior, data)

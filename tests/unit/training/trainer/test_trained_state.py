"""States of trained networks from other programs' files: loaded under any wrapper, or refused for the right reason."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from training.architectures import architecture
from training.bayesian.bayesianize import plain_posterior
from training.data.dataset import Dataset
from training.errors import CheckpointError
from training.recipe import Recipe
from training.trainer.initialization import initial_network

State = dict[str, Tensor]


def network(name: str = "convnet", channels: int = 1, classes: int = 10, seed: int = 5) -> nn.Module:
    return architecture(name, channels, classes, seed)


def trained() -> State:
    return network().state_dict()


def started(digits: Dataset, path: Path) -> State:
    """The state of the network that a training starts from."""
    return initial_network(Recipe(architecture="convnet", init_from=str(path)), digits).state_dict()


def renamed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def adam(state: State) -> dict[str, Any]:
    """The state of an optimiser after a step."""
    network_ = network()
    optimizer = torch.optim.Adam(network_.parameters())
    network_(torch.zeros(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


LOADED: dict[str, Callable[[State], Any]] = {
    "state alone": lambda state: state,
    "DistributedDataParallel": lambda state: renamed(state, "module."),
    "torch.compile": lambda state: renamed(state, "_orig_mod."),
    "DistributedDataParallel of compiled": lambda state: renamed(state, "module._orig_mod."),
    "compiled DistributedDataParallel": lambda state: renamed(state, "_orig_mod.module."),
    "Lightning": lambda state: {
        "state_dict": renamed(state, "model."),
        "pytorch-lightning_version": "2.5.0",
        "epoch": 3,
        "optimizer_states": [adam(state)],
        "loops": {},
    },
    "Lightning of compiled, with a loss": lambda state: {
        "state_dict": renamed(state, "net._orig_mod.") | {"criterion.weight": torch.ones(10)}
    },
    "timm": lambda state: {"arch": "convnet", "model": state, "optimizer": adam(state)},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": adam(state)},
    "state beside the epoch": lambda state: state | {"epoch": 3},
    "within two": lambda state: {"model": {"state_dict": renamed(state, "module.")}},
    "another key": lambda state: {"backbone": state, "optimizer": adam(state), "loss": 0.5},
    "behind a normalisation": lambda state: renamed(state, "1.") | {"0.mean": torch.zeros(1)},
    "bfloat16": lambda state: {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()},
    "without counters": lambda state: {n: t for n, t in state.items() if "num_batches_tracked" not in n},
    "parameters": lambda state: {n: nn.Parameter(t, t.is_floating_point()) for n, t in state.items()},
}


@pytest.mark.parametrize("kind", LOADED)
def test_states_of_other_programs_are_loaded(kind: str, tmp_path: Path, digits: Dataset) -> None:
    state, path = trained(), tmp_path / "state.pt"
    torch.save(LOADED[kind](state), path)
    found = started(digits, path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        expected = tensor.bfloat16().float() if kind == "bfloat16" and tensor.is_floating_point() else tensor
        assert torch.equal(found[name], expected)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model."])
@pytest.mark.parametrize("name", ["state.safetensors", "state.bin"])
def test_safetensors_are_known_by_their_content(name: str, prefix: str, tmp_path: Path, digits: Dataset) -> None:
    save_file(renamed(trained(), prefix), tmp_path / name)
    found = started(digits, tmp_path / name)
    assert all(torch.equal(found[name], tensor) for name, tensor in trained().items())


def test_a_torch_file_is_known_by_its_content(tmp_path: Path, digits: Dataset) -> None:
    torch.save(trained(), tmp_path / "state.safetensors")
    torch.save(trained(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(started(digits, tmp_path / "state.safetensors")["6.bias"], trained()["6.bias"])
    assert torch.equal(started(digits, tmp_path / "old.pt")["6.bias"], trained()["6.bias"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wrappers=st.lists(st.sampled_from(["module", "_orig_mod", "model", "net", "encoder", "0"]), max_size=4),
    keys=st.lists(st.sampled_from(["state_dict", "model", "module", "net"]), max_size=3),
)
def test_any_nesting_of_wrappers_is_loaded(
    wrappers: list[str], keys: list[str], tmp_path: Path, digits: Dataset
) -> None:
    whole: dict[str, Any] = renamed(trained(), "".join(f"{each}." for each in wrappers))
    for key in keys:
        whole = {key: whole, "epoch": 1}
    torch.save(whole, tmp_path / "state.pt")
    assert torch.equal(started(digits, tmp_path / "state.pt")["6.weight"], trained()["6.weight"])


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Any:
    return lambda state: state | {name: change(state[name])}


REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "missing under a prefix": (
        lambda state: {n: t for n, t in renamed(state, "module.").items() if "6.bias" not in n},
        r"is incomplete: it lacks 6\.bias$",
    ),
    "many missing": (
        lambda state: {n: t for n, t in state.items() if not n.startswith("1.")},
        r"it lacks 1\.0\.weight, 1\.1\.weight, 1\.1\.bias, 1\.1\.running_mean, 1\.1\.running_var$",
    ),
    "more than the network has": (
        lambda state: renamed(state | {"7.weight": torch.ones(2, 2)}, "_orig_mod."),
        r"another architecture: it has 7\.weight besides$",
    ),
    "another architecture": (
        lambda state: renamed(network("resnet20").state_dict(), "module."),
        r"of another architecture: it lacks 0\.0\.weight, .* more, and it has .* more besides",
    ),
    "other classes": (lambda state: network(classes=100).state_dict(), "is for 100 classes, the data set has 10$"),
    "other classes under a prefix": (
        lambda state: {"model": renamed(network(classes=7).state_dict(), "module.")},
        "is for 7 classes, the data set has 10$",
    ),
    "other channels": (lambda state: network(channels=3).state_dict(), "images of 3 channels, the data set's have 1$"),
    "other widths": (
        changed("1.0.weight", lambda tensor: tensor[:5]),
        r"shapes differ: 1\.0\.weight \[5, 32, 3, 3\], expected \[64, 32, 3, 3\]$",
    ),
    "two networks that fit": (
        lambda state: renamed(state, "student.") | renamed(state, "teacher."),
        "more than once, under 'student.', 'teacher.'",
    ),
    "two states": (lambda state: {"generator": state, "critic": state}, "more than one network: generator, critic"),
    "no number": (changed("6.bias", lambda tensor: tensor * float("nan")), r"6\.bias holds values that are not finite"),
    "infinite when converted": (changed("6.bias", lambda tensor: tensor.double() + 1e300), "not finite"),
    "integers": (changed("6.bias", lambda tensor: tensor.long()), r"6\.bias is of torch.int64, expected torch.float32"),
    "complex": (changed("6.bias", lambda tensor: tensor.to(torch.complex64)), "torch.complex64"),
    "sparse": (changed("6.weight", lambda tensor: tensor.to_sparse()), r"6\.weight is no dense tensor"),
    "without values": (changed("6.weight", lambda tensor: tensor.to("meta")), r"6\.weight is no dense tensor"),
    "tensor": (lambda state: state["6.weight"], "no checkpoint of a network"),
    "list": (lambda state: list(state.values()), "no checkpoint of a network"),
    "empty": (lambda state: {}, "no checkpoint of a network"),
    "optimiser alone": (lambda state: {"optimizer": adam(state), "epoch": 3}, "no checkpoint of a network"),
    "whole module": (lambda state: network(), r"more than tensors.*save the network's state_dict\(\) alone"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_for_its_reason(kind: str, tmp_path: Path, digits: Dataset) -> None:
    build, says = REFUSED[kind]
    torch.save(build(trained()), tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=says):
        started(digits, tmp_path / "state.pt")


def test_a_state_within_itself_is_refused(tmp_path: Path, digits: Dataset) -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of a network"):
        started(digits, tmp_path / "state.pt")


class Command:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_something_is_refused_and_does_not_run(
    zipped: bool, tmp_path: Path, digits: Dataset
) -> None:
    ran, path = tmp_path / "ran", tmp_path / "state.pt"
    command = Command(f"touch {ran}")
    if zipped:
        torch.save(trained() | {"hook": command}, path)
    else:
        path.write_bytes(pickle.dumps(command))
    with pytest.raises(CheckpointError, match="more than tensors"):
        started(digits, path)
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"PK\x03\x04", b"\x10" + bytes(7) + b"{", bytes(100)])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path, digits: Dataset) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        started(digits, path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, digits: Dataset) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, says in (("fifo", "is no file"), ("nowhere", "there is no checkpoint"), (".", "holds no finished run")):
        with pytest.raises(CheckpointError, match=says):
            started(digits, tmp_path / name)


def test_the_means_of_a_posterior_are_loaded(tmp_path: Path, digits: Dataset) -> None:
    plain = network()
    scales = {name: torch.ones_like(tensor) for name, tensor in plain.state_dict().items()}
    plain_posterior(plain, scales).save(tmp_path / "posterior.safetensors")
    for path in (tmp_path, tmp_path / "posterior.safetensors"):
        assert torch.equal(started(digits, path)["6.weight"], trained()["6.weight"])

"""Read the state of a trained plain network from the files of other programs, or say why it does not fit.

A file holds tensors by name: a state, or a state in a dictionary of other things (optimiser, epoch), as Lightning, timm
and many scripts write it. Names may begin with what a wrapper adds, such as `module.` (DistributedDataParallel),
`_orig_mod.` (torch.compile) or `model.` (Lightning). Nothing of a file is executed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.bayesian.posterior import Posterior
from training.errors import CheckpointError

POSTERIOR_FILE = "posterior.safetensors"
# Where programs keep the state among other things; the first of these that a file has is read.
STATE_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
# Counters that states of old versions of torch do not have.
OPTIONAL = "num_batches_tracked"
MAX_NAMES_SHOWN = 5
MAX_DEPTH = 4


def trained_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors by name of a finished run, whose means they are, a safetensors file or a torch checkpoint.

    Raises CheckpointError for anything else.
    """
    if path.is_dir():
        path = path / POSTERIOR_FILE
        if not path.exists():
            raise CheckpointError(f"{path.parent} holds no finished run: expected {POSTERIOR_FILE} in it")
    if path.name == POSTERIOR_FILE:
        return Posterior.load(path).mean()
    return _state_within(_read(path), path)


def _read(path: Path) -> Any:
    """Read a file by its content, whatever its suffix."""
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    if not path.is_file():
        raise CheckpointError(f"{path} is no file: expected a checkpoint")
    try:
        with path.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"
            file.seek(0)
            # From the open file, since torch would go by the suffix.
            return load_file(path) if is_safetensors else torch.load(file, "cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read, it may be damaged") from error
    except Exception as error:  # the restricted unpickler's own
        raise CheckpointError(
            f"the checkpoint {path} holds more than tensors, which is not read, or is damaged: save the network's "
            "state_dict() alone"
        ) from error


def _state_within(found: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name in what a file holds, itself or an entry of it, not further down than programs go."""
    for _ in range(MAX_DEPTH):
        if not isinstance(found, dict):
            break
        key = next((key for key in STATE_KEYS if isinstance(found.get(key), dict)), None)
        if key is None:
            if tensors := {n: v for n, v in found.items() if isinstance(n, str) and isinstance(v, Tensor)}:
                return tensors
            inner = [key for key, value in found.items() if isinstance(value, dict) and _only_tensors(value)]
            if len(inner) > 1:
                names = _listed(map(str, inner))
                raise CheckpointError(f"{path} holds more than one network: {names}: save one state alone")
            key = inner[0] if inner else None
        found = found.get(key)
    raise CheckpointError(f"{path} is no checkpoint of a network: expected its state, tensors by name")


def _only_tensors(state: Mapping[Any, Any]) -> bool:
    return bool(state) and all(isinstance(each, Tensor) for each in state.values())


def fitting_state(plain: nn.Module, found: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the state of `plain` in tensors that a wrapper may have renamed.

    Raises CheckpointError with what differs, where the tensors are of another network or not finite.
    """
    expected = plain.state_dict()
    prefix = _prefix(expected, found, source)
    state = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
    for name in expected.keys() - state.keys():
        if name.endswith(OPTIONAL):
            state[name] = expected[name]
    _check_names(expected, state, source)
    _check_shapes(expected, state, source)
    for name, tensor in state.items():
        _check_values(name, tensor, expected[name].dtype, source)
    return state


def _check_values(name: str, tensor: Tensor, dtype: torch.dtype, source: str) -> None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise CheckpointError(f"{source}: its {name} is no dense tensor with values")
    if tensor.is_floating_point() != dtype.is_floating_point or tensor.is_complex():
        raise CheckpointError(f"{source}: its {name} is of {tensor.dtype}, expected {dtype}")
    if not tensor.to(dtype).isfinite().all():
        raise CheckpointError(f"{source}: its {name} holds values that are not finite")


def _prefix(expected: Collection[str], found: Collection[str], source: str) -> str:
    """Return what precedes the network's own names: of all prefixes in the file, the one that most of them have.

    Raises CheckpointError if several networks in the file fit, such as a network and its moving average.
    """
    required = {name for name in expected if not name.endswith(OPTIONAL)}
    counts: dict[str, int] = {}
    for name in found:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in required:
                prefix = ".".join([*parts[:start], ""]) if start else ""
                counts[prefix] = counts.get(prefix, 0) + 1
    complete = [prefix for prefix, count in counts.items() if count == len(required)]
    if len(complete) > 1 and "" not in complete:
        names = _listed(repr(prefix) for prefix in complete)
        raise CheckpointError(f"{source} holds this network more than once, under {names}: save one state alone")
    # Of equal counts the shortest prefix: an incomplete state of the network itself has none.
    best = min(counts, key=lambda prefix: (-counts[prefix], len(prefix)), default="")
    return best if 2 * counts.get(best, 0) >= len(required) else ""


def _check_names(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    problems = []
    if missing:
        problems.append(f"it lacks {_listed(name for name in expected if name in missing)}")
    if unexpected:
        problems.append(f"it has {_listed(name for name in state if name in unexpected)} besides")
    if problems:
        kind = "is of another architecture" if unexpected or len(missing) == len(expected) else "is incomplete"
        raise CheckpointError(f"{source} {kind}: {', and '.join(problems)}")


def _check_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    shapes = {
        name: (list(state[name].shape), list(tensor.shape))
        for name, tensor in expected.items()
        if state[name].shape != tensor.shape
    }
    if not shapes:
        return
    weights = [name for name, tensor in expected.items() if tensor.dim() > 1]
    first, last = weights[0], weights[-1]
    if first in shapes and len(shapes) == 1 and _differ_at(shapes[first], 1):
        found, wanted = (shape[1] for shape in shapes[first])
        raise CheckpointError(f"{source} is for images of {found} channels, the data set's have {wanted}")
    if shapes.keys() <= {last, f"{last.removesuffix('weight')}bias"} and last in shapes and _differ_at(shapes[last], 0):
        found, wanted = (shape[0] for shape in shapes[last])
        raise CheckpointError(f"{source} is for {found} classes, the data set has {wanted}")
    listed = _listed(f"{name} {found}, expected {wanted}" for name, (found, wanted) in shapes.items())
    raise CheckpointError(f"{source} is of other widths: its shapes differ: {listed}")


def _differ_at(shapes: tuple[list[int], list[int]], axis: int) -> bool:
    """Return whether two shapes differ at one axis only."""
    found, wanted = shapes
    return len(found) == len(wanted) and [at for at in range(len(found)) if found[at] != wanted[at]] == [axis]


def _listed(names: Any) -> str:
    listed = list(names)
    more = len(listed) - MAX_NAMES_SHOWN
    return ", ".join(listed[:MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

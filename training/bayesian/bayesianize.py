"""Convert a plain network's convolutions and linear layers to Bayesian layers, and read back the posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from training.bayesian.eligibility import check_replaceable, random_layers
from training.bayesian.forward_pass import delimit_passes
from training.bayesian.layers import BAYESIAN, BayesianLayer, Draw
from training.bayesian.posterior import GaussianWeight, Posterior
from training.errors import ConversionError, RecipeError
from training.recipe import random_count


def bayesianize(module: nn.Module, draw: Draw, *, prior_scale: float, initial_scale: float = 0.02) -> nn.Module:
    """Replace, in place, every convolution and linear layer below `module` by its Bayesian form, and return `module`.

    The means start at the plain weights; frozen layers stay as they are. One call of `module` is one draw, however
    often it calls a layer. Raises ConversionError, naming the module and what to do, for parts whose computation or
    attachments would be lost, and changes nothing then.
    """
    for name, scale in (("prior_scale", prior_scale), ("initial_scale", initial_scale)):
        if not 0 < scale < math.inf:
            raise ConversionError(f"{name} is {scale}: expected a finite standard deviation above 0")
    layers = random_layers(module)
    if not layers:
        raise ConversionError("the network has no convolution or linear layer to make Bayesian that is not frozen")
    check_replaceable(layers)
    converted: dict[nn.Module, BayesianLayer] = {
        child: BAYESIAN[type(child)](child, draw, prior_scale, initial_scale, path) for path, child in layers.items()
    }
    for path, child in list(module.named_modules(remove_duplicate=False)):
        if child in converted:
            parent, _, name = path.rpartition(".")
            setattr(module.get_submodule(parent), name, converted[child])
    delimit_passes(module)
    return module


def bayesian_layers(module: nn.Module) -> dict[str, BayesianLayer]:
    """Return the Bayesian layers of a converted network, by path."""
    return {path: child for path, child in module.named_modules() if isinstance(child, BayesianLayer)}


def read_posterior(module: nn.Module) -> Posterior:
    """Return the posterior of a converted network, detached and on the CPU."""
    layers, rest = bayesian_parts(module)
    weights = {f"{path}.weight": layer.posterior() for path, layer in layers.items()}
    return Posterior(
        {name: GaussianWeight(w.mean.cpu(), w.scale.cpu()) for name, w in weights.items()},
        {name: tensor.detach().cpu().clone() for name, tensor in rest.items()},
    )


def bayesian_parts(module: nn.Module) -> tuple[dict[str, BayesianLayer], dict[str, Tensor]]:
    """Return the Bayesian layers of a converted network by path, and the rest of its state by name."""
    layers = bayesian_layers(module)
    own = {f"{path}.{name}" for path in layers for name in ("mean", "log_scale", "mask")}
    return layers, {name: tensor for name, tensor in _state(module).items() if name not in own}


def plain_parts(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a plain network that `bayesianize` converts, and the rest of its state, by name."""
    weights: dict[str, Tensor] = {f"{path}.weight": layer.weight for path, layer in random_layers(module).items()}
    return weights, {name: tensor for name, tensor in _state(module).items() if name not in weights}


def deterministic_names(module: nn.Module, random: str) -> list[str]:
    """Return the weights, by name, that are deterministic where the last N layers of `last:N` are random, else none.

    `module` is plain. Raises RecipeError if it has fewer layers.
    """
    count, names = random_count(random), list(plain_parts(module)[0])
    if count is None:
        return []
    if count > len(names):
        raise RecipeError(f"the network has {len(names)} layers with weights: expected at most last:{len(names)}")
    return names[: len(names) - count]


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return the network's state, of a module in several places only under its first name."""
    paths = dict(module.named_modules()).keys()
    return {name: tensor for name, tensor in module.state_dict().items() if name.rpartition(".")[0] in paths}


def plain_posterior(module: nn.Module, scales: Mapping[str, Tensor]) -> Posterior:
    """Return the posterior with a plain network's weights as means, detached and on the CPU."""
    weights, rest = plain_parts(module)
    return Posterior(
        {name: GaussianWeight(w.detach().cpu().clone(), scales[name].cpu().clone()) for name, w in weights.items()},
        {name: tensor.cpu().clone() for name, tensor in rest.items()},
    )


def restore(module: nn.Module, posterior: Posterior) -> None:
    """Set a converted network to `posterior`; weights with mean and scale zero are masked out."""
    layers, rest = bayesian_parts(module)
    check_matches(posterior, {f"{path}.weight": layer.mean for path, layer in layers.items()}, rest)
    module.load_state_dict(dict(posterior.rest), strict=False)
    for path, layer in layers.items():
        layer.restore(posterior.weights[f"{path}.weight"])


def check_matches(posterior: Posterior, weights: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> None:
    """Raise ConversionError unless `posterior` has these random weights and this rest, by name and shape."""
    for kind, found, expected in (
        ("weights", {name: weight.mean for name, weight in posterior.weights.items()}, weights),
        ("other parameters", posterior.rest, rest),
    ):
        if found.keys() != expected.keys():
            raise ConversionError(f"the posterior is of another architecture: its {kind} have other names")
        for name, tensor in expected.items():
            if found[name].shape != tensor.shape:
                raise ConversionError(f"the posterior is of another architecture: {name} has another shape")

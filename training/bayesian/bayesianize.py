"""Convert a plain network's convolutions and linear layers to Bayesian layers, and read back the posterior."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from training.bayesian.layers import BayesianConv2d, BayesianLayer, BayesianLinear, Draw
from training.bayesian.posterior import GaussianWeight, Posterior
from training.errors import ConversionError

# Modules whose parameters stay deterministic; any other module with parameters of its own is an error.
DETERMINISTIC = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)


def bayesianize(module: nn.Module, draw: Draw, *, prior_scale: float, initial_scale: float = 0.02) -> nn.Module:
    """Replace, in place, every Conv2d and Linear below `module` by its Bayesian form, and return `module`.

    The means start at the plain weights. Raises ConversionError, naming the module, for parameters that are neither
    converted nor of a normalisation layer.
    """
    for path, child in random_layers(module).items():
        kind = BayesianConv2d if isinstance(child, nn.Conv2d) else BayesianLinear
        try:
            layer = kind(child, draw, prior_scale, initial_scale)  # type: ignore[arg-type]
        except ConversionError as error:
            raise ConversionError(f"{path}: {error}") from error
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, layer)
    return module


def random_layers(module: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the layers of a plain network that `bayesianize` converts, by path; raise ConversionError as it does."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        raise ConversionError("the network is a single layer: put it into an nn.Sequential")
    names, all_names = (dict(module.named_parameters(remove_duplicate=each)).keys() for each in (True, False))
    if shared := sorted(all_names - names):
        raise ConversionError(f"{shared[0]}: a parameter that is used in two places cannot be made Bayesian")
    layers = {}
    for path, child in module.named_modules():
        if isinstance(child, nn.Conv2d | nn.Linear):
            layers[path] = child
        elif not isinstance(child, DETERMINISTIC) and list(child.parameters(recurse=False)):
            raise ConversionError(f"{path or 'the network'}: cannot make a {type(child).__name__} Bayesian")
    return layers


def bayesian_layers(module: nn.Module) -> dict[str, BayesianLayer]:
    """Return the Bayesian layers of a converted network, by path."""
    return {path: child for path, child in module.named_modules() if isinstance(child, BayesianLayer)}


def read_posterior(module: nn.Module) -> Posterior:
    """Return the posterior of a converted network, detached and on the CPU."""
    layers = bayesian_layers(module)
    own = {f"{path}.{name}" for path in layers for name in ("mean", "log_scale", "mask")}
    weights = {f"{path}.weight": layer.weight() for path, layer in layers.items()}
    return Posterior(
        {name: GaussianWeight(w.mean.cpu(), w.scale.cpu()) for name, w in weights.items()},
        {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items() if name not in own},
    )


def plain_parts(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a plain network that `bayesianize` converts, and the rest of its state, by name."""
    weights = {f"{path}.weight": layer.weight for path, layer in random_layers(module).items()}
    return weights, {name: tensor for name, tensor in module.state_dict().items() if name not in weights}


def plain_posterior(module: nn.Module, scales: Mapping[str, Tensor]) -> Posterior:
    """Return the posterior with a plain network's weights as means, detached and on the CPU."""
    weights, rest = plain_parts(module)
    return Posterior(
        {name: GaussianWeight(w.detach().cpu().clone(), scales[name].cpu().clone()) for name, w in weights.items()},
        {name: tensor.cpu().clone() for name, tensor in rest.items()},
    )


def restore(module: nn.Module, posterior: Posterior) -> None:
    """Set a converted network to `posterior`; weights with mean and scale zero are masked out."""
    layers = bayesian_layers(module)
    own = {f"{path}.{name}" for path in layers for name in ("mean", "log_scale", "mask")}
    rest = {name: tensor for name, tensor in module.state_dict().items() if name not in own}
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

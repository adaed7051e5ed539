"""A plain network's convolutions and linear layers made Bayesian, and the posterior read back out."""

from __future__ import annotations

from torch import nn

from training.errors import ConversionError
from training.layers import BayesianConv2d, BayesianLayer, BayesianLinear, Draw
from training.posterior import GaussianWeight, Posterior

# Parameters of these stay deterministic; every other module with parameters of its own is refused by name.
DETERMINISTIC = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def bayesianize(module: nn.Module, draw: Draw, *, prior_scale: float, initial_scale: float) -> nn.Module:
    """Replace, in place, every Conv2d and Linear below `module` by its Bayesian form, and return it.

    The means start at the plain weights. Raises ConversionError, naming the place, where a module has parameters of
    its own that are neither converted nor normalisation.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        raise ConversionError("the network is a single layer: put it into an nn.Sequential")
    names, all_names = (dict(module.named_parameters(remove_duplicate=each)).keys() for each in (True, False))
    if shared := sorted(all_names - names):
        raise ConversionError(f"{shared[0]}: a parameter that is used in two places cannot be made Bayesian")
    for path, child in list(module.named_modules()):
        if isinstance(child, nn.Conv2d | nn.Linear):
            kind = BayesianConv2d if isinstance(child, nn.Conv2d) else BayesianLinear
            try:
                layer = kind(child, draw, prior_scale, initial_scale)  # type: ignore[arg-type]
            except ConversionError as error:
                raise ConversionError(f"{path}: {error}") from error
            parent, _, name = path.rpartition(".")
            setattr(module.get_submodule(parent), name, layer)
        elif not isinstance(child, DETERMINISTIC) and list(child.parameters(recurse=False)):
            raise ConversionError(f"{path or 'the network'}: cannot make a {type(child).__name__} Bayesian")
    return module


def bayesian_layers(module: nn.Module) -> dict[str, BayesianLayer]:
    """The Bayesian layers of a converted network, by path."""
    return {path: child for path, child in module.named_modules() if isinstance(child, BayesianLayer)}


def posterior_of(module: nn.Module) -> Posterior:
    """The posterior that a converted network stands at, detached and on the CPU."""
    layers = bayesian_layers(module)
    own = {f"{path}.{name}" for path in layers for name in ("mean", "log_scale", "mask")}
    weights = {f"{path}.weight": layer.weight() for path, layer in layers.items()}
    return Posterior(
        {name: GaussianWeight(w.mean.cpu(), w.scale.cpu()) for name, w in weights.items()},
        {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items() if name not in own},
    )


def restore(module: nn.Module, posterior: Posterior) -> None:
    """Put a converted network at `posterior`; weights that are zero there stay masked out."""
    layers = bayesian_layers(module)
    if {f"{path}.weight" for path in layers} != set(posterior.weights):
        raise ConversionError("the posterior is of another architecture: its weights have other names")
    try:
        missing, unexpected = module.load_state_dict(dict(posterior.rest), strict=False)
    except RuntimeError as error:
        raise ConversionError("the posterior is of another architecture: its biases have other shapes") from error
    if unexpected or {name.rpartition(".")[2] for name in missing} - {"mean", "log_scale", "mask"}:
        raise ConversionError("the posterior is of another architecture: its other parameters have other names")
    for path, layer in layers.items():
        weight = posterior.weights[f"{path}.weight"]
        if weight.mean.shape != layer.mean.shape:
            raise ConversionError(f"the posterior is of another architecture: {path} has another shape")
        layer.restore(weight)

"""IVON: variational inference by a natural-gradient optimiser on a plain network (Shen et al. 2024).

    σ² = 1 / (λ (h + δ)),   w = μ + σ ⊙ ε,   ε ~ N(0, I),   λ = N/β,   δ = β / (N σ_p²)
    g ← γ g + (1 − γ) ∇L(w)
    h ← κ h + (1 − κ) ĥ + ½ (1 − κ)² (h − ĥ)² / (h + δ),   ĥ = ∇L(w) ⊙ ε / σ
    μ ← μ − α (h₀ + δ) / (h + δ) ⊙ (g / (1 − γᵗ) + δ μ)

L is the mean loss of a batch without prior: the prior N(0, σ_p²) is the weight decay δ. The learning rate is scaled by
h₀ + δ, so that α is what it would be for gradient descent. A step may take several draws, over several pieces of its
batch. ĥ is averaged over `HESSIAN_EVERY_STEPS` steps, after which h moves by 1 − κ to that power at once. Ranks
exchange their products only then, so that the second all-reduce costs that fraction of one in float32.

Deterministic parameters (biases, normalisation) descend the same averaged gradient without scaling or decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.bayesianize import check_matches, plain_parts, plain_posterior
from training.bayesian.posterior import GaussianWeight, Posterior, gaussian_divergence
from training.errors import ConversionError, RecipeError
from training.recipe import Recipe

HESSIAN_EVERY_STEPS = 10
MOMENTUM = 0.9


class IVON(torch.optim.Optimizer):
    """IVON over `random`, and averaged gradient descent over `deterministic`.

    `precision` is λ and `decay` is δ, of which λδ is the prior's precision; `hessian` is h₀; `memory` is κ for one
    step; `average` gives the mean of a tensor over ranks. Between steps the parameters are the means; inside `drawn`
    they are a draw, and the gradient that a backward pass leaves there is paired with its noise.
    """

    def __init__(
        self,
        random: Iterable[Tensor],
        deterministic: Iterable[Tensor],
        *,
        lr: float,
        precision: float,
        decay: float,
        hessian: float,
        memory: float,
        average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        own: dict[str, Any] = {"random": True, "precision": precision, "decay": decay}
        own |= {"hessian": hessian, "memory": memory, "steps": 0, "since_hessian": 0}
        groups = [{"params": list(random), **own}, {"params": list(deterministic), "random": False, "steps": 0}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})
        self.average = average
        self.noise: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["gradient"] = torch.zeros_like(parameter)
                if group["random"]:
                    state = self.state[parameter]
                    state["hessian"] = torch.full_like(parameter, hessian)
                    state["products"] = torch.zeros_like(parameter)
                    state["scale"] = (precision * (state["hessian"] + decay)).rsqrt()
                    # Sees the gradient of each pass alone and of this rank alone, before anything is summed.
                    parameter.register_hook(self._pairing(parameter))

    def _pairing(self, parameter: Tensor) -> Callable[[Tensor], None]:
        def pair(gradient: Tensor) -> None:
            if parameter in self.noise:
                self.state[parameter]["products"].addcmul_(gradient, self.noise[parameter])

        return pair

    def random_weights(self) -> Iterator[tuple[dict[str, Any], Tensor, dict[str, Tensor]]]:
        """Group, mean and state of every random weight."""
        for group in self.param_groups:
            if group["random"]:
                yield from ((group, parameter, self.state[parameter]) for parameter in group["params"])

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        """Put a draw in the place of the means, which are back afterwards whatever happens."""
        means = {parameter: parameter.detach().clone() for _, parameter, _ in self.random_weights()}
        try:
            with torch.no_grad():
                for _, parameter, state in self.random_weights():
                    self.noise[parameter] = torch.randn_like(parameter)
                    parameter.addcmul_(state["scale"], self.noise[parameter])
            yield
        finally:
            self.noise.clear()
            with torch.no_grad():
                for parameter, mean in means.items():
                    parameter.copy_(mean)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the means, and every `HESSIAN_EVERY_STEPS` steps the Hessian, from the gradients that passes left."""
        for group in self.param_groups:
            group["steps"] += 1
            debias = 1 - MOMENTUM ** group["steps"]
            for parameter in group["params"]:
                state = self.state[parameter]
                gradient = state["gradient"].lerp_(parameter.grad, 1 - MOMENTUM)
                if group["random"]:
                    direction = torch.add(gradient / debias, parameter, alpha=group["decay"])
                    direction.mul_(state["scale"].square())  # 1 / (λ (h + δ)); zero where pruned
                    rate = group["lr"] * group["precision"] * (group["hessian"] + group["decay"])
                    parameter.sub_(direction, alpha=rate)
                else:
                    parameter.sub_(gradient, alpha=group["lr"] / debias)
            if group["random"]:
                group["since_hessian"] += 1
                if group["since_hessian"] == HESSIAN_EVERY_STEPS:
                    self._move_hessian(group)
                    group["since_hessian"] = 0

    @torch.no_grad()
    def restore(self, parameter: Tensor, weight: GaussianWeight) -> None:
        """Put one random parameter at a posterior; where its scale is zero it stays as it is for good.

        Raises ConversionError where a weight has a mean but no scale: the divergence of such a weight is infinite.
        """
        if bool((weight.mean[weight.scale == 0] != 0).any()):
            raise ConversionError("a weight with a mean but without a scale cannot be trained on")
        (group,) = (group for group in self.param_groups if any(each is parameter for each in group["params"]))
        scale = weight.scale.to(parameter.device)
        parameter.copy_(weight.mean)
        state = self.state[parameter]
        state["scale"] = scale.clone()
        state["hessian"] = torch.where(scale > 0, scale.pow(-2) / group["precision"] - group["decay"], 0.0)

    def rescale(self) -> None:
        """Let h₀ be the mean Hessian of the weights that are left, so that α means what it did at the start.

        A Hessian that has fallen since then would otherwise make steps that much larger.
        """
        for group in self.param_groups:
            if group["random"]:
                states = [self.state[parameter] for parameter in group["params"]]
                left = torch.cat([state["hessian"][state["scale"] > 0] for state in states])
                group["hessian"] = float(left.mean()) if len(left) else group["hessian"]

    def _move_hessian(self, group: dict[str, Any]) -> None:
        states = [self.state[parameter] for parameter in group["params"]]
        products = torch.cat([state["products"].flatten() for state in states])
        of_world = self.average(products).split([state["products"].numel() for state in states])
        pace = 1 - group["memory"] ** HESSIAN_EVERY_STEPS
        for state, product in zip(states, of_world, strict=True):
            hessian, scale = state["hessian"], state["scale"]
            estimate = product.view_as(hessian) / (scale * HESSIAN_EVERY_STEPS)
            ahead = torch.where(scale > 0, estimate - hessian, 0.0)
            hessian.add_(pace * ahead + 0.5 * pace**2 * ahead.square() / (hessian + group["decay"]))
            state["scale"] = (group["precision"] * (hessian + group["decay"])).rsqrt() * (scale > 0)
            state["products"].zero_()


class NaturalGradient(Approximation):
    """A plain network under IVON; the weights of its convolutions and linear layers are random."""

    optimizer: IVON

    def __init__(self, module: nn.Module, optimizer: IVON, prior_scale: float) -> None:
        super().__init__(module, optimizer)
        self.prior_scale = prior_scale
        self.last_divergence: float | None = None

    @classmethod
    def create(
        cls, plain: nn.Module, recipe: Recipe, train_size: int, average: Callable[[Tensor], Tensor]
    ) -> NaturalGradient:
        """Start at the plain network's weights, every scale at the recipe's initial one.

        Raises RecipeError where the recipe leaves no room for a Hessian.
        """
        if recipe.beta == 0 or recipe.initial_scale >= recipe.prior_scale:
            raise RecipeError("ivon needs a beta above 0 and an initial scale below the prior's")
        if recipe.warmup_epochs > 0:
            raise RecipeError(
                "ivon has the divergence at its full weight from the start: leave the warm-up at 0 epochs"
            )
        weights = list(plain_parts(plain)[0].values())
        chosen = set(weights)
        precision = train_size / recipe.beta
        decay = recipe.prior_scale**-2 / precision
        optimizer = IVON(
            weights,
            [parameter for parameter in plain.parameters() if parameter not in chosen],
            lr=recipe.learning_rate,
            precision=precision,
            decay=decay,
            hessian=recipe.initial_scale**-2 / precision - decay,
            memory=recipe.memory,
            average=average,
        )
        return cls(plain, optimizer, recipe.prior_scale)

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        with self.optimizer.sampled_params():
            yield

    @torch.no_grad()
    def divergence(self) -> float:
        """As it was when the scales last moved."""
        if self.last_divergence is None or self.synchronised:
            self.last_divergence = 0.0
            for _, mean, state in self.optimizer.random_weights():
                of_each = gaussian_divergence(mean, state["scale"].log(), self.prior_scale)
                self.last_divergence += float(of_each.where(state["scale"] > 0, 0.0).sum())
        return self.last_divergence

    @property
    def synchronised(self) -> bool:
        return all(group["since_hessian"] == 0 for group in self.optimizer.param_groups if group["random"])

    def posterior(self) -> Posterior:
        weights, _ = plain_parts(self.module)
        return plain_posterior(self.module, {name: self.optimizer.state[w]["scale"] for name, w in weights.items()})

    def restore(self, posterior: Posterior) -> None:
        weights, rest = plain_parts(self.module)
        check_matches(posterior, weights, rest)
        self.module.load_state_dict(dict(posterior.rest), strict=False)
        for name, parameter in weights.items():
            self.optimizer.restore(parameter, posterior.weights[name])
        self.optimizer.rescale()

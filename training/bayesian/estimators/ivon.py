"""IVON: variational inference by a natural-gradient optimiser on a plain network (Shen et al. 2024).

    σ² = 1 / (λ (h + δ)),   w = μ + σ ⊙ ε,   ε ~ N(0, I),   λ = N/β,   δ = β / (N σ_p²)
    g ← γ g + (1 − γ) ∇L(w)
    h ← κ h + (1 − κ) ĥ + ½ (1 − κ)² (h − ĥ)² / (h + δ),   ĥ = ∇L(w) ⊙ ε / σ
    μ ← μ − α (h₀ + δ) / (h + δ) ⊙ (g / (1 − γᵗ) + δ μ)

L is the mean loss of a batch without prior: the prior N(0, σ_p²) is the weight decay δ. The learning rate is scaled by
h₀ + δ, so that α compares with that of gradient descent. A step may take several draws, over several micro-batches. ĥ
is averaged over `HESSIAN_EVERY_STEPS` steps, after which h moves by 1 − κ to that power at once. Ranks exchange their
products only then, so that the second all-reduce costs that fraction of one in float32.

κ = exp(−images of a step / memory): the memory counts images, not steps, so that scales depend neither on the batch
size nor on the number of ranks. What is left of h₀ at the end must be small, or scales are those that it began with.

Deterministic parameters (biases, normalisation) descend the same averaged gradient without scaling or decay, and
weights of deterministic layers with decay, as a random weight with h = h₀ does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.bayesianize import check_matches, deterministic_names, plain_parts, plain_posterior
from training.bayesian.posterior import GaussianWeight, Posterior, gaussian_divergence
from training.errors import ConversionError, RecipeError
from training.recipe import Recipe

HESSIAN_EVERY_STEPS = 10
# Part of the state of a deterministic weight, which others do not have: 0 where it is pruned, else 1.
KEPT = "kept"
MOMENTUM = 0.9


class IVON(torch.optim.Optimizer):
    """IVON over `random`, and averaged gradient descent over `deterministic`.

    `precision` is λ and `decay` is δ, where λδ is the prior's precision; `hessian` is h₀; `memory` is κ of one step;
    `average` returns the mean of a tensor over ranks. A group's `left` is the share of h₀ in its present Hessian.
    Between steps the parameters are the means; within `sampled_params` they are a draw, and the gradient of a backward
    pass is multiplied by its noise.
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
        own |= {"hessian": hessian, "memory": memory, "steps": 0, "since_hessian": 0, "left": 1.0}
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
                    # The hook sees the gradient of one pass on this rank, before any accumulation or all-reduce.
                    parameter.register_hook(self._accumulating(parameter))

    @classmethod
    def over(
        cls,
        module: nn.Module,
        train_size: int,
        images_per_step: float,
        *,
        lr: float,
        prior_scale: float,
        initial_scale: float,
        memory_images: float,
        beta: float = 1.0,
        average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> IVON:
        """Set up IVON for a plain network: weights of convolutions and linear layers are random, all others are not.

        `beta` is the weight of the divergence, below 1 for a cold posterior. After `memory_images` 1/e of the initial
        Hessian is left: choose the images of the whole training, divided by 4.6 or more.

        Raises RecipeError without beta or with an initial scale not below the prior's, and ConversionError for a
        network that has no layer to make random.
        """
        if not (beta > 0 and 0 < initial_scale < prior_scale):
            raise RecipeError("ivon needs a beta above 0 and an initial scale below the prior's")
        weights = list(plain_parts(module)[0].values())
        if not weights:
            raise ConversionError("the network has no convolution or linear layer to make random that is not frozen")
        chosen = set(weights)
        precision = train_size / beta
        decay = prior_scale**-2 / precision
        return cls(
            weights,
            [each for each in module.parameters() if each not in chosen and each.requires_grad],
            lr=lr,
            precision=precision,
            decay=decay,
            hessian=initial_scale**-2 / precision - decay,
            memory=math.exp(-images_per_step / memory_images),
            average=average,
        )

    def posterior(self, module: nn.Module) -> Posterior:
        """Return the posterior of the plain network that this was set up for, detached and on the CPU."""
        weights, _ = plain_parts(module)
        return plain_posterior(module, {name: self.state[weight]["scale"] for name, weight in weights.items()})

    def _accumulating(self, parameter: Tensor) -> Callable[[Tensor], None]:
        def accumulate(gradient: Tensor) -> None:
            if parameter in self.noise:
                self.state[parameter]["products"].addcmul_(gradient, self.noise[parameter])

        return accumulate

    def random_weights(self) -> Iterator[tuple[dict[str, Any], Tensor, dict[str, Tensor]]]:
        """Yield the group, mean and state of every random weight."""
        for group in self.param_groups:
            if group["random"]:
                states = ((group, parameter, self.state[parameter]) for parameter in group["params"])
                yield from (each for each in states if KEPT not in each[2])

    @torch.no_grad()
    def fix(self, parameter: Tensor) -> None:
        """Make one weight deterministic: it descends as others do, under the decay δ; zeros stay pruned."""
        state = self.state[parameter]
        state[KEPT] = (parameter != 0).to(parameter.dtype)
        for part in ("scale", "hessian", "products"):
            state[part].zero_()

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        """Replace the means by a draw within this context, and restore them on exit, also after an error."""
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
        """Update every `HESSIAN_EVERY_STEPS` steps the Hessian, and then the means."""
        for group in self.param_groups:
            group["steps"] += 1
            if group["random"]:
                group["since_hessian"] += 1
                if group["since_hessian"] == HESSIAN_EVERY_STEPS:
                    self._update_hessian(group)
                    group["since_hessian"] = 0
            debias = 1 - MOMENTUM ** group["steps"]
            for parameter in group["params"]:
                state = self.state[parameter]
                gradient = state["gradient"].lerp_(parameter.grad, 1 - MOMENTUM)
                if group["random"]:
                    direction = torch.add(gradient / debias, parameter, alpha=group["decay"])
                    if KEPT in state:
                        parameter.sub_(direction.mul_(state[KEPT]), alpha=group["lr"])
                        continue
                    direction.mul_(state["scale"].square())  # 1 / (λ (h + δ)); zero where pruned
                    rate = group["lr"] * group["precision"] * (group["hessian"] + group["decay"])
                    parameter.sub_(direction, alpha=rate)
                else:
                    parameter.sub_(gradient, alpha=group["lr"] / debias)

    @torch.no_grad()
    def restore(self, parameter: Tensor, weight: GaussianWeight) -> None:
        """Set one random parameter to a posterior; weights with mean and scale zero stay pruned.

        Without any scale it is deterministic. Raises ConversionError for a layer with scales where a weight has a mean
        and no scale, since the divergence of such a weight is infinite.
        """
        (group,) = (group for group in self.param_groups if any(each is parameter for each in group["params"]))
        scale = weight.scale.to(parameter.device)
        parameter.copy_(weight.mean)
        state = self.state[parameter]
        if weight.deterministic:
            self.fix(parameter)
            return
        state.pop(KEPT, None)
        state["scale"] = scale.clone()
        state["hessian"] = torch.where(scale > 0, scale.pow(-2) / group["precision"] - group["decay"], 0.0)

    def rescale(self) -> None:
        """Set h₀ to the median Hessian of the unpruned weights, so that α keeps its scale.

        Without it, a Hessian that has decreased during training would make steps larger by that factor.
        """
        for group in self.param_groups:
            if group["random"]:
                hessian = self.hessian_of(group)
                group["hessian"] = float(hessian.median()) if len(hessian) else group["hessian"]

    def hessian_of(self, group: dict[str, Any]) -> Tensor:
        """Return the Hessian of a group's unpruned weights, flat."""
        states = [self.state[parameter] for parameter in group["params"]]
        return torch.cat([state["hessian"][state["scale"] > 0] for state in states])

    def _update_hessian(self, group: dict[str, Any]) -> None:
        states = [self.state[parameter] for parameter in group["params"]]
        products = torch.cat([state["products"].flatten() for state in states])
        averaged = self.average(products).split([state["products"].numel() for state in states])
        kept = group["memory"] ** HESSIAN_EVERY_STEPS
        group["left"] *= kept
        rate = 1 - kept
        for state, product in zip(states, averaged, strict=True):
            hessian, scale = state["hessian"], state["scale"]
            estimate = product.view_as(hessian) / (scale * HESSIAN_EVERY_STEPS)
            change = torch.where(scale > 0, estimate - hessian, 0.0)
            hessian.add_(rate * change + 0.5 * rate**2 * change.square() / (hessian + group["decay"]))
            state["scale"] = (group["precision"] * (hessian + group["decay"])).rsqrt() * (scale > 0)
            state["products"].zero_()


class NaturalGradient(Approximation):
    """A plain network under IVON, with random weights in convolutions and linear layers."""

    optimizer: IVON

    def __init__(self, module: nn.Module, optimizer: IVON, prior_scale: float) -> None:
        super().__init__(module, optimizer)
        self.prior_scale = prior_scale
        self.last_divergence: float | None = None

    @classmethod
    def create(
        cls,
        plain: nn.Module,
        recipe: Recipe,
        train_size: int,
        images_per_step: float,
        average: Callable[[Tensor], Tensor],
    ) -> NaturalGradient:
        """Start at the plain network's weights, with the recipe's initial scale.

        Raises RecipeError for a recipe with a warm-up, without beta, or with an initial scale not below the prior's.
        """
        if recipe.warmup_epochs > 0:
            raise RecipeError(
                "ivon has the divergence at its full weight from the start: leave the warm-up at 0 epochs"
            )
        optimizer = IVON.over(
            plain,
            train_size,
            images_per_step,
            lr=recipe.learning_rate,
            prior_scale=recipe.prior_scale,
            initial_scale=recipe.initial_scale,
            memory_images=recipe.hessian_memory(train_size),
            beta=recipe.beta,
            average=average,
        )
        created = cls(plain, optimizer, recipe.prior_scale)
        created.fix(deterministic_names(plain, recipe.random))
        return created

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        with self.optimizer.sampled_params():
            yield

    @torch.no_grad()
    def divergence(self) -> float:
        """Return KL(q‖p) in nats at the last update of the scales."""
        if self.last_divergence is None or self.synchronised:
            self.last_divergence = 0.0
            for _, mean, state in self.optimizer.random_weights():
                of_each = gaussian_divergence(mean, state["scale"].log(), self.prior_scale)
                self.last_divergence += float(of_each.where(state["scale"] > 0, 0.0).sum())
        return self.last_divergence

    def figures(self) -> dict[str, float]:
        """Return `hessian_left`, the share of the initial Hessian in the median of h + δ, from which scales follow."""
        shares = [1.0]
        for group in self.optimizer.param_groups:
            if group["random"] and len(hessian := self.optimizer.hessian_of(group)):
                shares.append(group["hessian"] * group["left"] / (float(hessian.median()) + group["decay"]))
        return {"hessian_left": min(shares)}

    @property
    def synchronised(self) -> bool:
        return all(group["since_hessian"] == 0 for group in self.optimizer.param_groups if group["random"])

    def fix(self, names: Collection[str]) -> None:
        weights, _ = plain_parts(self.module)
        for name in names:
            self.optimizer.fix(weights[name])

    def posterior(self) -> Posterior:
        return self.optimizer.posterior(self.module)

    def restore(self, posterior: Posterior) -> None:
        weights, rest = plain_parts(self.module)
        check_matches(posterior, weights, rest)
        self.module.load_state_dict(dict(posterior.rest), strict=False)
        for name, parameter in weights.items():
            self.optimizer.restore(parameter, posterior.weights[name])
        self.optimizer.rescale()

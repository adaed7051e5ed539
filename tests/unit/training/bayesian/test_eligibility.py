"""What a Bayesian layer would lose is kept, or refused by name, whatever it is that is attached to the plain one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from training.bayesian.bayesianize import bayesian_layers, bayesianize, read_posterior
from training.bayesian.estimators import DRAWS, create_approximation, reparam
from training.errors import ConversionError
from training.recipe import Recipe


def bayesian(plain: nn.Module, initial_scale: float = 0.1) -> nn.Module:
    return bayesianize(plain, reparam.draw, prior_scale=1.0, initial_scale=initial_scale)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019), a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class SilentSubclass(nn.Linear):
    """A subclass that changes nothing, which cannot be known."""


def hooked(register: Callable[[nn.Linear], object]) -> nn.Linear:
    layer = nn.Linear(4, 4)
    register(layer)
    return layer


def old(norm: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        made: nn.Module = getattr(nn.utils, norm)(nn.Linear(4, 4))
    return made


def with_attached(name: str, value: nn.Module | nn.Parameter | Tensor) -> nn.Linear:
    layer = nn.Linear(4, 4)
    if isinstance(value, nn.Module):
        layer.add_module(name, value)
    elif isinstance(value, nn.Parameter):
        layer.register_parameter(name, value)
    else:
        layer.register_buffer(name, value)
    return layer


def patched() -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: x * 2  # type: ignore[method-assign]
    return layer


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.nn.quantized import dynamic

        return dynamic.Linear(4, 4)


def pruned() -> nn.Linear:
    return prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)  # type: ignore[no-any-return, no-untyped-call]


def ignore(*_: object) -> None:
    return None


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "subclass with a forward pass of its own": (lambda: StandardisedConv(3, 4, 3), "StandardisedConv .* use Conv2d"),
    "subclass without": (lambda: SilentSubclass(4, 4), "SilentSubclass .* use Linear"),
    "replaced forward": (patched, "forward pass was replaced"),
    "forward hook": (lambda: hooked(lambda layer: layer.register_forward_hook(ignore)), "hooks would be lost"),
    "forward pre-hook": (lambda: hooked(lambda layer: layer.register_forward_pre_hook(ignore)), "hooks would be lost"),
    "backward hook": (lambda: hooked(lambda layer: layer.register_full_backward_hook(ignore)), "hooks would be lost"),
    "backward pre-hook": (
        lambda: hooked(lambda layer: layer.register_full_backward_pre_hook(ignore)),
        "hooks would be lost",
    ),
    "state hook": (lambda: hooked(lambda layer: layer.register_state_dict_post_hook(ignore)), "hooks would be lost"),
    "gradient hook": (lambda: hooked(lambda layer: layer.weight.register_hook(ignore)), "hooks on its weight"),
    "accumulated gradient hook": (
        lambda: hooked(lambda layer: layer.weight.register_post_accumulate_grad_hook(ignore)),
        "hooks on its weight",
    ),
    "old weight norm": (lambda: old("weight_norm"), "remove_weight_norm"),
    "old spectral norm": (lambda: old("spectral_norm"), "remove_spectral_norm"),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(4, 4)), "weight is parametrized.*remove_parametr"),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)), "weight is parametrized"),
    "parametrized without bias": (lambda: parametrizations.orthogonal(nn.Linear(4, 4, bias=False)), "is parametrized"),
    "pruning mask": (pruned, r"prune.remove\(layer, 'weight'\) first, and give its mask"),
    "attached module": (lambda: with_attached("adapter", nn.Identity()), "its adapter would be lost"),
    "attached parameter": (lambda: with_attached("gain", nn.Parameter(torch.ones(1))), "its gain would be lost"),
    "attached buffer": (lambda: with_attached("count", torch.ones(1)), "its count would be lost"),
    "lazy layer": (lambda: nn.LazyLinear(4), "has no shape yet: call the network once"),
    "lazy normalisation": (lambda: nn.LazyBatchNorm2d(), "has no shape yet"),
    "quantised layer": (quantised, "quantised Linear .* before quantising"),
    "complex weight": (lambda: nn.Linear(4, 4, dtype=torch.complex64), "of torch.complex64"),
    "data-parallel wrapper": (lambda: nn.DataParallel(nn.Linear(4, 4)), "within DataParallel"),
    "normalisation with more": (
        lambda: type("Gated", (nn.BatchNorm2d,), {"__init__": _gated})(4),
        "cannot make a Gated Bayesian: freeze",
    ),
    "embedding": (lambda: nn.Embedding(3, 2), "cannot make a Embedding Bayesian: freeze"),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "cannot make a MultiheadAttention Bayesian"),
    "recurrent": (lambda: nn.LSTM(4, 4), "cannot make a LSTM Bayesian"),
    "transposed convolution": (lambda: nn.ConvTranspose1d(2, 2, 3), "cannot make a ConvTranspose1d Bayesian"),
}


def _gated(self: nn.BatchNorm2d, channels: int) -> None:
    nn.BatchNorm2d.__init__(self, channels)
    self.gate = nn.Parameter(torch.ones(channels))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_lost_is_refused_by_name_before_anything_changes(kind: str) -> None:
    build, says = REFUSED[kind]
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(build()))
    before = list(module.modules())
    with pytest.raises(ConversionError, match=rf"^1\.0: .*{says}"):
        bayesian(module)
    assert list(module.modules()) == before


def test_a_compiled_network_is_converted_before_it_is_wrapped() -> None:
    compiled = torch.compile(nn.Sequential(nn.Linear(4, 4)), backend="eager")
    with pytest.raises(ConversionError, match="within OptimizedModule"):
        bayesian(compiled)  # type: ignore[arg-type]


def test_a_bayesian_layer_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"^0: is Bayesian already"):
        bayesian(bayesian(nn.Sequential(nn.Linear(4, 4))))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_are_positive_and_finite(scale: float) -> None:
    with pytest.raises(ConversionError, match=r"prior_scale is .* above 0"):
        bayesianize(nn.Sequential(nn.Linear(2, 2)), reparam.draw, prior_scale=scale)
    with pytest.raises(ConversionError, match=r"initial_scale is .* above 0"):
        bayesian(nn.Sequential(nn.Linear(2, 2)), initial_scale=scale)


def test_a_network_with_nothing_to_make_bayesian_is_refused() -> None:
    with pytest.raises(ConversionError, match="no convolution or linear layer"):
        bayesian(nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.ReLU()))


@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param(lambda: nn.Linear(4, 4), id="layer"),
        pytest.param(lambda: SilentSubclass(4, 4), id="subclass"),
        pytest.param(lambda: hooked(lambda layer: layer.register_forward_hook(lambda m, x, y: y * 0)), id="hook"),
        pytest.param(pruned, id="pruned"),
        pytest.param(lambda: parametrizations.weight_norm(nn.Linear(4, 4)), id="parametrized"),
        pytest.param(lambda: nn.PReLU(), id="activation"),
    ],
)
def test_frozen_modules_stay_as_they_are(frozen: Callable[[], nn.Module]) -> None:
    layer = frozen().requires_grad_(False)
    x = torch.randn(3, 4)
    expected = layer(x)
    module = bayesian(nn.Sequential(layer, nn.Linear(4, 2)))
    assert module[0] is layer
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert torch.equal(module[0](x), expected)
    posterior = read_posterior(module)
    assert list(posterior.weights) == ["1.weight"]
    assert posterior.rest.keys() == {"1.bias", *(f"0.{name}" for name in layer.state_dict())}


@pytest.mark.parametrize("estimator", [*DRAWS, "ivon", "none"])
def test_frozen_weights_are_neither_random_nor_trained_by_any_estimator(estimator: str) -> None:
    plain = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.ReLU(), nn.Linear(4, 2))
    before = plain[0].weight.clone()
    approximation = create_approximation(plain, Recipe(estimator=estimator, warmup_epochs=0.0, beta=1.0), 10)
    for _ in range(12):
        with approximation.sampled_params():
            approximation.module(torch.randn(8, 4)).square().mean().backward()
        approximation.optimizer.step()
    posterior = approximation.posterior()
    assert list(posterior.weights) == ["2.weight"]
    assert torch.equal(posterior.rest["0.weight"], before)
    approximation.restore(posterior)


def test_a_frozen_bias_stays_frozen_and_a_trained_one_beside_a_frozen_weight_trained() -> None:
    first, second, last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    first.bias.requires_grad_(False)
    second.weight.requires_grad_(False)
    module = bayesian(nn.Sequential(first, second, last))
    assert list(bayesian_layers(module)) == ["0", "2"]
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert trained == {"0.mean", "0.log_scale", "1.bias", "2.mean", "2.log_scale", "2.bias"}


def test_hooks_on_a_bias_and_on_modules_around_a_layer_are_kept() -> None:
    layer, around = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))
    layer.bias.register_hook(lambda gradient: gradient * 0)
    around.register_forward_hook(lambda module, x, y: y * 0)
    module = nn.Sequential(layer, around)
    module.register_forward_hook(lambda module, x, y: y + 1)
    output = bayesian(module)(torch.randn(3, 4))
    assert (output == 1).all()
    module[0](torch.randn(3, 4)).sum().backward()
    assert (module[0].bias.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", DRAWS)
def test_dtype_mode_memory_format_and_attributes_are_kept(estimator: str, dtype: torch.dtype) -> None:
    conv, linear = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last), nn.Linear(6, 5)
    linear.is_head = True  # type: ignore[assignment]
    plain = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).to(dtype).eval()
    module = bayesianize(plain, DRAWS[estimator], prior_scale=1.0)
    layers = bayesian_layers(module).values()
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert not any(layer.training for layer in layers)
    assert module[0].mean.is_contiguous(memory_format=torch.channels_last)
    assert (module[0].kernel_size, module[0].out_channels, module[3].in_features) == ((3, 3), 6, 6)
    assert module[3].is_head
    x = torch.zeros(2, 4, 5, 5, dtype=dtype).to(memory_format=torch.channels_last)  # a root at zero variance
    output = module(x)
    assert output.dtype == dtype
    (output.float().sum() + sum(layer.divergence() for layer in layers)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_masks_of_torch_s_pruning_go_on_as_the_message_says() -> None:
    layer = prune.l1_unstructured(nn.Linear(64, 64), "weight", 0.8)  # type: ignore[no-untyped-call]
    mask = layer.weight_mask.bool()
    prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    module = bayesian(nn.Sequential(layer))
    module[0].keep(mask)
    weight = read_posterior(module).weights["0.weight"]
    assert torch.equal(weight.scale != 0, mask)
    assert torch.equal(weight.mean, layer.weight)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parameters_tied_between_layers_are_refused_by_both_names(name: str) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    setattr(second, name, getattr(first, name))
    with pytest.raises(ConversionError, match=rf"1\.{name}: .* two places, here and as 0\.{name}"):
        bayesian(nn.Sequential(first, second))


def test_parameters_tied_between_modules_that_stay_are_kept() -> None:
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    second.weight = first.weight
    module = bayesian(nn.Sequential(first, nn.Linear(3, 3), second))
    assert module[0].weight is module[2].weight


def test_a_network_that_reads_a_weight_is_refused_by_name_when_it_does() -> None:
    class Tied(nn.Module):
        """An autoencoder whose decoder is the encoder's transpose."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.encoder(x), self.encoder.weight.t())

    with pytest.raises(AttributeError, match="encoder: a Bayesian layer has no single weight"):
        bayesian(Tied())(torch.randn(3, 4))

"""Graphs cut where draws begin to differ: what they share runs once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from service.inference.artifact import Artifact, Member
from service.inference.bank import Bank
from service.inference.engine import Engine
from service.inference.graph import split, with_constants
from service.inference.quantization import quantize
from tests.support.engines import KEY, plain


def test_what_draws_share_runs_apart(artifact: Artifact) -> None:
    """Scaling and turning the pixels, and every layer before the first random one."""
    made = quantize(artifact.members[0])
    parts = split(made.graph, made.names)
    random = {weight.name for weight in artifact.members[0].weights}
    assert {node.op_type for node in parts.prefix.graph.node} >= {"Cast", "Transpose"}
    assert not any(random & set(node.input) for node in parts.prefix.graph.node)
    assert len(parts.prefix.graph.node) + len(parts.drawn.graph.node) == len(artifact.members[0].graph.graph.node)


def test_deterministic_layers_in_front_are_shared(artifact: Artifact, images: np.ndarray) -> None:
    """Weights that lost their scale become constants of the shared part, and nothing else changes."""
    first, *others = artifact.members[0].weights
    graph = with_constants(artifact.members[0].graph, {first.name: first.mean})
    member = Member(graph, tuple(others))
    fixed = Artifact((member,), artifact.image_shape, artifact.num_classes)
    prefix = split(member.graph, [weight.name for weight in others]).prefix
    assert "Conv" in {node.op_type for node in prefix.graph.node}
    with ThreadPoolExecutor(1) as builders:
        bank = Bank(fixed, KEY, 2)
        logits = Engine(bank, builders).draws(images, 4)
    single = np.stack([plain(fixed, bank.weights(draw), images) for draw in range(4)])
    np.testing.assert_allclose(logits, single, rtol=1e-5, atol=1e-5)


def test_a_network_without_noise_is_shared_to_the_last_layer(artifact: Artifact, images: np.ndarray) -> None:
    """All draws are equal then, and cost one pass."""
    means = {weight.name: weight.mean for weight in artifact.members[0].weights}
    member = Member(with_constants(artifact.members[0].graph, means), ())
    fixed = Artifact((member,), artifact.image_shape, artifact.num_classes)
    assert len(split(member.graph, []).drawn.graph.node) == 1
    with ThreadPoolExecutor(1) as builders:
        logits = Engine(Bank(fixed, KEY, 2), builders).draws(images, 4)
    assert (logits == logits[0]).all()

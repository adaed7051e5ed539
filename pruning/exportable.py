"""Check before training that a network can be exported, and tell what pruning has to leave as it is."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from model_store.errors import VerificationError
from model_store.onnx_file.reader import read_level_file
from pruning.errors import TraceError
from pruning.granularity.channel import kept_channels
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.graph.trace import GraphTemplate
from training.bayesian.bayesianize import plain_parts, plain_posterior
from training.data.dataset import Pixels


def check_exportable(plain: nn.Module, pixels: Pixels) -> list[str]:
    """Take a plain network the whole line from its trace to a level's file, and leave it as it is.

    Returns why some channels will not be pruned, one sentence for each layer that keeps them, or nothing.

    Raises TraceError for what cannot be exported, by the operation's name, with the line of the network's code; and
    ConversionError for what cannot be made Bayesian.
    """
    network = deepcopy(plain).cpu().float()
    weights, _ = plain_parts(network)
    posterior = plain_posterior(network, {name: torch.ones_like(weight) for name, weight in weights.items()})
    graph = GraphTemplate.trace(network, pixels).bind(posterior)
    try:
        read_level_file(to_bytes(export_onnx(graph)))
    except VerificationError as error:
        raise TraceError(f"the network cannot be served: {error}") from error
    return kept_channels(graph, posterior)

"""Pruning: from a posterior to one small ONNX file per level.

errors        the tree of everything that can go wrong here
level         names of levels: `dense`, `p50`, `p80`, …
network       the posterior network as a graph of few kinds of nodes
trace         a plain torch module and its posterior to that graph
forward       the graph's forward pass in torch, for given weights
coupling      which tensors share their channels
criteria      scores of weights: `snr`
granularity   what is removed at once: `weight`, `channel`
mask          which weights are left, and the posterior under it
fine_tuning   training on under a mask
folding       normalisation folded into the convolution before it
compaction    removing what is dead, exactly
evaluation    quality and calibration of a level
export        the graph as an ONNX file that draws
pruner        a run to levels
publication   levels to a version in the store
cli           `slimbayes prune`
"""

import training  # noqa: F401  what it sets must be set before torch is imported

"""Pruning: from a posterior to one small ONNX file per level.

errors        the tree of everything that can go wrong here
level         names of levels: `dense`, `p80`, `x4`, `t500`, `auto`
network       the posterior network as a graph of few kinds of nodes
trace         a plain torch module and its posterior to that graph
forward       the graph's forward pass in torch, for given weights
coupling      which tensors share their channels
subject       a finished run with its data
criteria      what a weight is worth: `snr`, `free_energy`, `magnitude`, `random`
latency       milliseconds of layers and networks, measured
budget        what a level may keep, and what layers cost
granularity   what is removed at once: `weight`, `channel`
mask          which weights are left, and the posterior under it
narrowing     which channels are left, and the posterior cut to them
fine_tuning   training on while pruning
determinism   layers that need no randomness lose their scales
rounding      what eight bits make of a number
quantization  eight-bit arithmetic for a network
pruner        a dense posterior to that of a level
finishing     what is done to levels once they are pruned
folding       normalisation folded into the convolution before it
compaction    removing what is dead, exactly
calibration   temperature, conformal sets, thresholds
evaluation    quality and calibration of a level
pruned        a level, compacted and evaluated
export        the graph as an ONNX file that draws
publication   levels to a version in the store
choice        finished cells of a study as levels to publish
bprune        the baseline's own rule
cell          one cell of a study: a level under a criterion and a granularity
study         every criterion, granularity and level of a run
table         a study's rows as JSON, CSV and Markdown
plot          a study as pictures
results       what a study leaves: table and plots, written
options       what both commands share
cli           `slimbayes prune`
study_cli     `slimbayes study`
"""

import training  # noqa: F401  what it sets must be set before torch is imported

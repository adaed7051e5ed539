"""Training: from a plain network and images to a posterior over its weights.

errors          the tree of everything that can go wrong here
architectures   plain networks: `convnet`, `resnet20`, `resnet18`, `vgg16`
data            images and labels: `digits`, `cifar10`, `folder`; splits, augmentation, out-of-distribution sets
layers          mean-field Gaussian convolution and linear layers
bayesianize     a plain network's convolutions and linear layers made Bayesian
posterior       mean and scale of every random weight; all that later stages see
estimators      how a step draws: `reparam`, `flipout`, `lrt`, `ivon`; `none` for the plain network
approximation   what the loop trains, whatever the estimator
variational     the approximation that Bayesian layers make
initialisation  the network that training starts at, fresh or trained already
objective       the evidence lower bound, its warm-up and its data term
distillation    what a trained posterior predicts, as the target of another network
randomness      every random number as a function of seed, step and rank
precision       float32 or bfloat16
memory          what was freed is kept for the next step
batches         which images each rank sees at each step
distributed     one process, or one rank of many under torchrun
attempt         which start of a run the ranks are in
communication   how gradients travel between ranks
recipe          everything that decides a run, frozen
suited          the recipe that suits a data set and an estimator
checkpoint      atomic snapshots and resuming from them
loop            the training loop
recorder        logs and checkpoints, while a run goes on
events          the log as TensorBoard reads it
prediction      draws of the predictive distribution
metrics         accuracy, NLL, Brier score, ECE, AURC, entropies, AUROC
progress        what a person sees while it runs
run             the folder of a run
trainer         a whole run
report          plots of a run
page            the page that shows them
cli             `slimbayes train`
report_cli      `slimbayes report`
"""

import os

# Threads that wait must sleep: where cores are shared with another process, waiting in a loop took nine tenths of the
# time (resnet20, two cores: 39 images/s against 359). Set on import, since OpenMP reads it once, when it is loaded with
# torch, and nothing of this package that needs torch is imported before this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

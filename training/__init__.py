"""Training: from a plain network and images to a posterior over its weights.

errors          the tree of everything that can go wrong here
architectures   plain networks: `convnet`, `resnet20`
data            images and labels: `digits`, `cifar10`; splits, augmentation, out-of-distribution sets
layers          mean-field Gaussian convolution and linear layers
estimators      how a step draws: `reparam`, `flipout`
bayesianize     a plain network's convolutions and linear layers made Bayesian
posterior       mean and scale of every random weight; all that later stages see
objective       the evidence lower bound, its warm-up and its data term
randomness      every random number as a function of seed, step and rank
batches         which images each rank sees at each step
distributed     one process, or one rank of many under torchrun
recipe          everything that decides a run, frozen
checkpoint      atomic snapshots and resuming from them
loop            the training loop
prediction      draws of the predictive distribution
metrics         accuracy, NLL, Brier score, ECE, AURC, entropies, AUROC
progress        what a person sees while it runs
run             the folder of a finished run
cli             `slimbayes train`
"""

import os

# Threads that wait must sleep, said before torch is imported: where cores are shared with another process, waiting in a
# loop took nine tenths of the time (resnet20, two cores: 39 images/s against 359).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

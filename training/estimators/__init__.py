"""Estimators: how one training step draws. One file each: the source, the formula, the draw.

reparam    one weight for the batch, in Bayesian layers
flipout    the same under random signs per example, in Bayesian layers
lrt        outputs from their own mean and variance, in Bayesian layers
ivon       one weight for the batch, by a natural-gradient optimiser on the plain network
none       no draw: the plain network
registry   all of them by name
"""

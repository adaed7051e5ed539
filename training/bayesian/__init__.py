"""Make a network Bayesian: layers, objective, posterior, estimators."""

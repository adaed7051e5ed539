"""Plots of a run, one file each, built alike: what is computed, then the figure.

curves        loss and accuracy over epochs
layers        each layer's scales and signal-to-noise ratios over training
snr           signal-to-noise ratios of the final posterior
calibration   how often the network is right, by how sure it is
style         colours, sizes and labels that all share
"""

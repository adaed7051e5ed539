"""Plot a run. Each file has the computation and `figure`.

curves        loss and accuracy over epochs
layers        each layer's scales and signal-to-noise ratios over training
snr           signal-to-noise ratios of the final posterior
calibration   accuracy by confidence
style         colours, sizes and labels that all share
"""

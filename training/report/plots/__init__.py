"""Plot a run: one file per plot, with the computation and `figure`; `style` has what all share."""

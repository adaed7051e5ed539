"""Compare ways of pruning: run trials, tabulate, plot, select."""

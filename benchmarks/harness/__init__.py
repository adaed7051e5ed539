"""Generate load and build test networks for the benchmarks."""

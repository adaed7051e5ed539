"""Train on many ranks: world, elastic restarts, gradient synchronisation, sampling."""

"""Schedule draws in continuous batches and control admission."""

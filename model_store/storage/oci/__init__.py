"""Store versions as artifacts of an OCI registry."""

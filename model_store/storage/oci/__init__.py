"""Keep objects in an OCI registry, as artifacts."""

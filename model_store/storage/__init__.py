"""Keep named bytes in a folder, a bucket or an OCI registry."""

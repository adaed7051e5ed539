"""Store objects in a folder, a bucket or an OCI registry."""

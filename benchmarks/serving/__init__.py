"""Measure the service over HTTP and bulk scoring."""

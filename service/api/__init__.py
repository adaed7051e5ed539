"""Expose the service over HTTP: routes, schemas, and the OpenAPI document."""

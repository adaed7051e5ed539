"""Speak HTTP/1.1 and protect the service: server, bodies, keys, rate limits, middleware."""

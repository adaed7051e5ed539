"""Serve the routes, one file each, built alike: what the route takes, what it answers, `router`."""

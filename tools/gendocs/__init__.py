"""Generate the reference documentation and the Helm values schema from code: `python -m tools.gendocs`."""

"""What people read. `python -m docs` writes what comes from the code: api.md, and the settings in operations.md."""

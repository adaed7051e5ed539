"""Read requests from connections within bounds of size and time."""

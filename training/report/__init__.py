"""Report a finished run as plots and Markdown."""

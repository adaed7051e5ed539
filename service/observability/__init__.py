"""Count, log and trace requests."""

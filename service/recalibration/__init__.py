"""Calibrate a published version anew, on labelled pictures of one's own."""

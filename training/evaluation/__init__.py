"""Draw predictions and score them."""

"""Read what requests contain: bodies, forms, JSON and the pictures in them."""

"""Read the headers of pictures, one file a format."""

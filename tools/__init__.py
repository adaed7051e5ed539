"""Development tools: documentation generators, the zoo build and the prose check."""

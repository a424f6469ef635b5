"""Public tools for tests (layer 16): what mpcd's own tests use, for those who build on it."""

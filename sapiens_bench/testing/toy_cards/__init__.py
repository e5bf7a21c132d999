"""Cards of the toy."""

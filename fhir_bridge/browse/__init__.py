"""Pages on which staff find and read the records of their own node."""

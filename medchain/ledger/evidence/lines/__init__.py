"""The seven lines of a verdict, one file each: what is found, read from checked evidence alone."""

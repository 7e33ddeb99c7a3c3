"""One module a step, each with the tables as they were then."""

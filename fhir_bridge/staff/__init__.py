"""Pages on which staff break the glass, and others review it."""

"""Claims: whether an invoice is claimed, asked by insurers of the hospitals that issued it."""

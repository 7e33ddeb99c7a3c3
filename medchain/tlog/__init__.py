"""The transparency log: Merkle tree, state map, notes, checkpoints, policies and proofs; no I/O."""

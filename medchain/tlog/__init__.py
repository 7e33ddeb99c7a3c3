"""The transparency log: Merkle tree, state map, signed notes, checkpoints, quorum policy, tiles and proofs; no I/O."""

"""The ledger of sealed objects: transactions, kinds, policies and the deterministic machine; no I/O."""

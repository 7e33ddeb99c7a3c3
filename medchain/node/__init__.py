"""What a node does: applying blocks, records, submission, endorsement, peers, keys."""

"""Evidence for a claim: what an insurer holds, what hospitals say and sign, and the verdict that follows from both."""

"""Consent: directives, the decision, passkeys and the pages on which patients give and take back."""

"""Cryptography: suites, record envelope, field roots, key wrapping, sealing, signatures, WebAuthn assertion check."""

"""MedChain: a healthcare data-sharing consortium chain whose every answer can be proven offline."""

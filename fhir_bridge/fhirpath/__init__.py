"""FHIRPath over parsed resources, compiled once into closures: for invariants and for patches."""

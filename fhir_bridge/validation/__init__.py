"""Whether a resource is what FHIR R4 says that it must be."""

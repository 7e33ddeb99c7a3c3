"""FHIR R4: the REST API, search and SMART on FHIR in front of a node's records."""

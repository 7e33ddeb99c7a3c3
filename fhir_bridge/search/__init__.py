"""FHIR search: what a resource is found by, and what a query asks for."""

"""The REST server of FHIR R4: requests in, stored bytes out."""

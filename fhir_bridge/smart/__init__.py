"""SMART on FHIR backend services: scopes, clients, tokens. The door for JOSE libraries."""

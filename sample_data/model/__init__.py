"""How the consortium's people, visits and bills are drawn and written as FHIR R4 resources."""

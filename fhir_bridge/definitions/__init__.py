"""HL7's definitions of FHIR R4, carried by the project and read when they are needed."""

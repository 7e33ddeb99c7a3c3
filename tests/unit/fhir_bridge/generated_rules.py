"""What generated resources respect of R4's invariants, and what they leave out, each with the invariant that says so.

Written from the invariants' own text (FHIR R4, "Constraints"), not from what our validation does with them.
"""

from __future__ import annotations

ALWAYS = {
    # Elements that an invariant wants, by path.
    "AllergyIntolerance.clinicalStatus",  # ait-1
    "Appointment.start",  # app-2, app-3
    "Appointment.end",  # app-2, app-3
    "Appointment.participant.actor",  # app-1
    "AppointmentResponse.actor",  # apr-1
    "Attachment.contentType",  # att-1
    "Binary.data",  # without it there is nothing to store (docs/spec/rest.md)
    "Bundle.entry.resource",  # bdl-5
    "CapabilityStatement.description",  # cpb-2
    "CapabilityStatement.implementation",  # cpb-14
    "CapabilityStatement.rest",  # cpb-1
    "Composition.section.text",  # cmp-1
    "ConceptMap.group.element.target.comment",  # cmd-1
    "Condition.clinicalStatus",  # con-4
    "Condition.evidence.code",  # con-2
    "Condition.stage.summary",  # con-1
    "Consent.policyRule",  # ppc-1
    "Consent.patient",  # ppc-2 to ppc-5
    "ContactPoint.system",  # cpt-2
    "ElementDefinition.id",  # sdf-14
    "ElementDefinition.isModifierReason",  # eld-18
    "ElementDefinition.sliceName",  # eld-22
    "ElementDefinition.slicing.description",  # eld-1
    "Expression.expression",  # exp-1
    "FamilyMemberHistory.age[x]",  # fhs-2
    "Goal.target.measure",  # gol-1
    "Immunization.education.reference",  # imm-1
    "ImmunizationRecommendation.recommendation.vaccineCode",  # imr-1
    "InsurancePlan.name",  # ipn-1
    "MedicationAdministration.dosage.dose",  # mad-1
    "Observation.referenceRange.text",  # obs-3
    "OperationDefinition.parameter.type",  # opd-1
    "Organization.name",  # org-1
    "Patient.contact.name",  # pat-1
    "Ratio.numerator",  # rat-1
    "Ratio.denominator",  # rat-1
    "SearchParameter.xpathUsage",  # spd-1
    "ServiceRequest.code",  # prr-1
    "StructureDefinition.baseDefinition",  # sdf-4
    "StructureDefinition.differential",  # sdf-6
    "StructureDefinition.mapping.name",  # sdf-2
    "StructureMap.group.rule.target.context",  # smp-1
    "StructureMap.group.rule.target.contextType",  # smp-2
    "TerminologyCapabilities.codeSystem.version.code",  # tcp-1
    "TerminologyCapabilities.description",  # tcp-2
    "TerminologyCapabilities.implementation",  # tcp-3
    "TestScript.metadata.capability.required",  # tst-4
    "TestScript.setup.action.operation.sourceId",  # tst-7
    "TestScript.test.action.operation.sourceId",  # tst-8
    "TestScript.teardown.action.operation.sourceId",  # tst-9
    "Timing.repeat.count",  # tim-8
    "Timing.repeat.duration",  # tim-7
    "Timing.repeat.durationUnit",  # tim-1
    "Timing.repeat.period",  # tim-6
    "Timing.repeat.periodUnit",  # tim-2
    "TriggerDefinition.data",  # trd-2, trd-3
    "ValueSet.compose.include.system",  # vsd-1, vsd-2
    "ValueSet.expansion.contains.code",  # vsd-6, vsd-9
    "ValueSet.expansion.contains.system",  # vsd-10
}

LEFT_OUT = {
    # Elements that an invariant forbids beside what `FIXED` and `ALWAYS` set, or that would need another to agree.
    "Appointment.cancelationReason": "app-4: only of a cancelled one",
    "Binary.securityContext": "names a record of this node (docs/spec/rest.md)",
    "Bundle.total": "bdl-1: only of a searchset or history",
    "Bundle.entry.search": "bdl-2: only in a searchset",
    "Bundle.entry.request": "bdl-3: not in a collection",
    "Bundle.entry.response": "bdl-4: not in a collection",
    "ElementDefinition.contentReference": "eld-5: without nearly all others",
    "ElementDefinition.pattern[x]": "eld-8: not with fixed",
    "ElementDefinition.meaningWhenMissing": "eld-15: not with a default",
    "ElementDefinition.type.aggregation": "eld-4: only of references",
    "ElementDefinition.type.targetProfile": "eld-17: only of references",
    "FamilyMemberHistory.born[x]": "fhs-1: not with age",
    "ImplementationGuide.definition.resource.fhirVersion": "ig-2: one of the guide's",
    "ImplementationGuide.definition.resource.groupingId": "ig-1: one of the guide's",
    "List.emptyReason": "lst-1: not with entries",
    "List.entry.deleted": "lst-2: only of changes",
    "Measure.group.stratifier.component": "mea-1: not with a code, description or criteria",
    "MolecularSequence.referenceSeq.chromosome": "msq-5: only with genomeBuild",
    "MolecularSequence.referenceSeq.genomeBuild": "msq-6: not with referenceSeqId",
    "OperationDefinition.parameter.targetProfile": "opd-3: only of references",
    "StructureDefinition.contextInvariant": "sdf-18: only of extensions",
    "StructureDefinition.snapshot": "sdf-3, sdf-8, sdf-8b: all of a type's elements",
    "TestScript.setup.action.assert.compareToSourceId": "tst-10: only with an expression or path",
    "TestScript.setup.action.assert.compareToSourceExpression": "tst-10: only with an id",
    "TestScript.setup.action.assert.compareToSourcePath": "tst-10: only with an id",
    "TestScript.test.action.assert.compareToSourceId": "tst-11: only with an expression or path",
    "TestScript.test.action.assert.compareToSourceExpression": "tst-11: only with an id",
    "TestScript.test.action.assert.compareToSourcePath": "tst-11: only with an id",
    "Timing.repeat.offset": "tim-9: only with when",
    "TriggerDefinition.timing[x]": "trd-1: not with data",
}

_ASSERTED = (
    "contentType",
    "expression",
    "headerField",
    "minimumId",
    "navigationLinks",
    "path",
    "requestMethod",
    "resource",
    "response",
    "responseCode",
    "validateProfileId",
)
EXCLUSIVE = {
    # Of these children at most one, by their parent's path.
    "AuditEvent.entity": ("name", "query"),  # sev-1
    "CarePlan.activity": ("detail", "reference"),  # cpl-3
    "Composition.section": ("entry", "emptyReason"),  # cmp-2
    "MedicationDispense": ("whenPrepared", "whenHandedOver"),  # mdd-1
    "Observation": ("value", "dataAbsentReason"),  # obs-6
    "Questionnaire.item": ("answerOption", "answerValueSet", "initial"),  # que-4, que-11
    "QuestionnaireResponse.item": ("answer", "item"),  # qrs-1
    "Task": ("authoredOn", "lastModified"),  # inv-1 of Task
    "TestScript.setup.action.assert": _ASSERTED,  # tst-5
    "TestScript.test.action.assert": _ASSERTED,  # tst-6
    "TestScript.variable": ("expression", "headerField", "path"),  # tst-3
    "Timing.repeat": ("timeOfDay", "when"),  # tim-10
    "ValueSet.compose.include": ("concept", "filter"),  # vsd-3
}
EXACTLY_ONE = {
    "CoverageEligibilityResponse.insurance.item": ("category", "productOrService"),  # ces-1
    "DataRequirement.codeFilter": ("path", "searchParam"),  # drq-1
    "DataRequirement.dateFilter": ("path", "searchParam"),  # drq-2
    "MeasureReport.group.stratifier.stratum": ("value", "component"),  # mrp-2
    "MolecularSequence.referenceSeq": ("referenceSeqId", "referenceSeqPointer", "referenceSeqString"),  # msq-6
    "Parameters.parameter": ("value", "resource", "part"),  # inv-1
    "RequestGroup.action": ("resource", "action"),  # rqg-1
    "TestReport.test.action": ("operation", "assert"),  # inv-2
    "TestScript.setup.action": ("operation", "assert"),  # tst-1
    "TestScript.test.action": ("operation", "assert"),  # tst-2
}
AT_LEAST = {"Linkage.item": 2}  # lnk-1
AT_MOST = {
    "ElementDefinition.type": 1,  # eld-6, eld-13
    "StructureDefinition.differential.element": 1,  # sdf-8a
}

FIXED = {
    # Codes and the like that keep an invariant.
    "Address.use": "work",  # org-2
    "Appointment.status": "booked",  # app-3
    "Bundle.type": "collection",  # bdl-1 to bdl-12
    "CapabilityStatement.kind": "instance",  # cpb-3, cpb-14 to cpb-16
    "ConceptMap.group.unmapped.mode": "provided",  # cmd-2, cmd-3
    "ContactPoint.use": "work",  # org-3
    "ElementDefinition.max": "*",  # eld-2, eld-3
    "ElementDefinition.path": "Patient.name",  # eld-19, sdf-8a, sdf-20, sdf-23, sdf-9
    "ElementDefinition.sliceName": "slice-1",  # eld-16
    "ElementDefinition.type.code": "string",  # eld-11
    "Group.actual": True,  # grp-1
    "List.mode": "working",  # lst-3
    "MeasureReport.type": "summary",  # mrp-1
    "MessageDefinition.focus.max": "*",  # md-1
    "NamingSystem.kind": "codesystem",  # nsd-1
    "NamingSystem.uniqueId.preferred": False,  # nsd-2
    "OperationDefinition.parameter.type": "string",  # opd-2
    "Questionnaire.item.enableWhen.operator": "=",  # que-7
    "Questionnaire.item.repeats": True,  # que-13
    "Questionnaire.item.type": "string",  # que-1, que-3 to que-10
    "SearchParameter.status": "draft",  # an active one says in FHIRPath what it finds
    "SearchParameter.type": "reference",  # spd-2
    "StructureDefinition.derivation": "specialization",  # sdf-21
    "StructureDefinition.kind": "resource",  # sdf-11
    "StructureDefinition.type": "Patient",  # sdf-8a
    "TerminologyCapabilities.kind": "instance",  # tcp-3 to tcp-5
    "TestScript.setup.action.assert.direction": "response",  # tst-12
    "TestScript.test.action.assert.direction": "response",  # tst-13
    "TriggerDefinition.type": "data-added",  # trd-3
}
ONLY_CODE = {
    # The code that a CodeableConcept takes of its set.
    "AllergyIntolerance.clinicalStatus": "active",
    "AllergyIntolerance.verificationStatus": "confirmed",  # ait-2
    "Condition.clinicalStatus": "resolved",  # con-4
    "Condition.verificationStatus": "confirmed",  # con-5
}
ONLY_TYPE = {
    "RiskAssessment.prediction.probability[x]": "decimal",  # ras-1
}
ONLY_NUMBER = {
    "MolecularSequence.coordinateSystem": "0",  # msq-3
    "RiskAssessment.prediction.probability[x]": "1e-7",  # ras-2
}
UCUM = {
    # Quantities whose unit an invariant decides: code of UCUM and value.
    "Age": ("a", "18"),  # age-1
    "Count": ("1", "3"),  # cnt-3
    "Distance": ("km", "1.50"),  # dis-1
    "Duration": ("min", "0.5"),  # drt-1
}
POSITIVE = ("Timing.repeat.duration", "Timing.repeat.period")  # tim-4, tim-5

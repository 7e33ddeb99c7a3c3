"""What the types of records are called in Chinese; in English they are called by their names. Pure.

What has no Chinese name here is called as FHIR calls it.
Source: HL7 China's usage for names of types; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

TYPES: Final[Mapping[str, str]] = {
    "Account": "账户",
    "AllergyIntolerance": "过敏与不耐受",
    "Appointment": "预约",
    "AppointmentResponse": "预约答复",
    "AuditEvent": "审计事件",
    "Basic": "基本资源",
    "Binary": "二进制文件",
    "BodyStructure": "身体结构",
    "Bundle": "资源包",
    "CarePlan": "诊疗计划",
    "CareTeam": "诊疗团队",
    "ChargeItem": "收费项目",
    "Claim": "理赔申请",
    "ClaimResponse": "理赔答复",
    "ClinicalImpression": "临床印象",
    "Communication": "沟通记录",
    "CommunicationRequest": "沟通申请",
    "Composition": "文档组成",
    "Condition": "病情与诊断",
    "Consent": "知情同意",
    "Coverage": "保险",
    "CoverageEligibilityRequest": "参保资格查询",
    "CoverageEligibilityResponse": "参保资格答复",
    "DetectedIssue": "发现的问题",
    "Device": "设备",
    "DeviceRequest": "设备申请",
    "DeviceUseStatement": "设备使用说明",
    "DiagnosticReport": "诊断报告",
    "DocumentManifest": "文档清单",
    "DocumentReference": "文档引用",
    "Encounter": "就诊",
    "Endpoint": "服务端点",
    "EpisodeOfCare": "诊疗阶段",
    "ExplanationOfBenefit": "赔付说明",
    "FamilyMemberHistory": "家族史",
    "Flag": "警示",
    "Goal": "目标",
    "Group": "群组",
    "GuidanceResponse": "决策建议",
    "HealthcareService": "医疗服务",
    "ImagingStudy": "影像检查",
    "Immunization": "免疫接种",
    "ImmunizationRecommendation": "接种建议",
    "InsurancePlan": "保险计划",
    "Invoice": "账单",
    "Library": "知识库",
    "List": "列表",
    "Location": "地点",
    "Measure": "指标",
    "MeasureReport": "指标报告",
    "Media": "媒体",
    "Medication": "药品",
    "MedicationAdministration": "给药记录",
    "MedicationDispense": "发药记录",
    "MedicationRequest": "用药医嘱",
    "MedicationStatement": "用药情况",
    "MolecularSequence": "分子序列",
    "NutritionOrder": "膳食医嘱",
    "Observation": "检验与观察",
    "OperationOutcome": "操作结果",
    "Organization": "机构",
    "Patient": "患者",
    "PaymentNotice": "付款通知",
    "PaymentReconciliation": "付款对账",
    "Person": "人员",
    "PlanDefinition": "计划定义",
    "Practitioner": "医务人员",
    "PractitionerRole": "医务角色",
    "Procedure": "手术与操作",
    "Provenance": "溯源",
    "Questionnaire": "问卷",
    "QuestionnaireResponse": "问卷答复",
    "RelatedPerson": "相关人员",
    "RequestGroup": "申请组",
    "ResearchStudy": "研究",
    "ResearchSubject": "研究对象",
    "RiskAssessment": "风险评估",
    "Schedule": "排班",
    "SearchParameter": "搜索参数",
    "ServiceRequest": "检查检验申请",
    "Slot": "号源",
    "Specimen": "标本",
    "Subscription": "订阅",
    "Substance": "物质",
    "SupplyDelivery": "物资交付",
    "SupplyRequest": "物资申请",
    "Task": "任务",
    "ValueSet": "值集",
    "VisionPrescription": "验光处方",
}
"""Type → its Chinese name."""

_REFERENCE: Final = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.-]{1,64})")


def record_text(reference: str, language: str) -> str:
    """Call a record as the field does.

    Args:
        reference: ``Type/id``; anything else stays as it is.
        language: ``zh``; anything else is English.

    Returns:
        In Chinese the name of its type, and its id; in English the reference.
    """
    found = _REFERENCE.fullmatch(reference)
    if language != "zh" or found is None or found[1] not in TYPES:
        return reference
    return f"{TYPES[found[1]]} {found[2]}"

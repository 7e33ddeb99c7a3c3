"""What purposes of use are called, in Chinese and English: each of v3-ActReason that `consent.vocabulary` knows.

A data table.
Source: HL7 v3-ActReason, PurposeOfUse; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

PURPOSE_WORDS: Final[Words] = {
    "purpose.TREAT": ("诊治", "treatment"),
    "purpose.ETREAT": ("急救", "emergency treatment"),
    "purpose.BTG": ("紧急破例", "breaking the glass"),
    "purpose.HPAYMT": ("医疗费用理赔", "payment and claims"),
    "purpose.HOPERAT": ("医疗管理", "healthcare operations"),
    "purpose.HRESCH": ("医学研究", "research"),
    "purpose.PUBHLTH": ("公共卫生", "public health"),
    "purpose.HLEGAL": ("法律程序", "legal proceedings"),
    "purpose.HCOMPL": ("法定报告与合规", "what the law demands to be reported"),
    "purpose.DISASTER": ("灾害应对", "a disaster"),
    "purpose.THREAT": ("对公众的威胁", "a threat to the public"),
    "purpose.COVERAGE": ("保险资格", "insurance coverage"),
    "purpose.PATRQT": ("应患者要求", "at the patient's request"),
    "purpose.CAREMGT": ("照护管理", "care management"),
    "purpose.DONAT": ("捐献", "donation"),
    "purpose.FRAUD": ("反欺诈", "finding fraud"),
    "purpose.GOV": ("政府职能", "government"),
    "purpose.HACCRED": ("机构评审", "accreditation"),
    "purpose.HDECD": ("身后事务", "what follows a death"),
    "purpose.HDIRECT": ("名录", "a directory"),
    "purpose.HDM": ("医疗服务管理", "managing healthcare"),
    "purpose.HMARKT": ("市场推广", "marketing"),
    "purpose.HOUTCOMS": ("疗效评估", "measuring outcomes"),
    "purpose.HPRGRP": ("项目报告", "reports of a programme"),
    "purpose.HQUALIMP": ("质量改进", "improving quality"),
    "purpose.HSYSADMIN": ("系统管理", "system administration"),
    "purpose.LABELING": ("标签管理", "security labels"),
    "purpose.METAMGT": ("元数据管理", "managing metadata"),
    "purpose.MEMADMIN": ("会员管理", "administration of members"),
    "purpose.MILCDM": ("军事任务", "military command"),
    "purpose.PATADMIN": ("患者事务", "patient administration"),
    "purpose.PATSFTY": ("患者安全", "patient safety"),
    "purpose.PERFMSR": ("绩效评估", "measuring performance"),
    "purpose.RECORDMGT": ("病历管理", "managing records"),
    "purpose.SYSDEV": ("系统开发", "system development"),
    "purpose.HTEST": ("测试", "testing"),
    "purpose.TRAIN": ("培训", "training"),
    "purpose.CLMATTCH": ("理赔附件", "papers for a claim"),
    "purpose.COVAUTH": ("保险授权", "authorising coverage"),
    "purpose.REMITADV": ("付款通知", "advice of a payment"),
    "purpose.ELIGDTRM": ("资格认定", "determining eligibility"),
    "purpose.ELIGVER": ("资格核验", "verifying eligibility"),
    "purpose.ENROLLM": ("参保登记", "enrolment in an insurance"),
    "purpose.MILDCRG": ("军人离役", "military discharge"),
    "purpose.BIORCH": ("生物医学研究", "biomedical research"),
    "purpose.CLINTRCH": ("临床试验研究", "research of a clinical trial"),
    "purpose.CLINTRCHNPC": ("临床试验研究（不含诊治）", "research of a clinical trial without care"),
    "purpose.CLINTRCHPC": ("临床试验研究（含诊治）", "research of a clinical trial with care"),
    "purpose.PRECLINTRCH": ("临床前研究", "preclinical research"),
    "purpose.DSRCH": ("疾病研究", "research of a disease"),
    "purpose.POARCH": ("人群与血统研究", "research of populations or ancestry"),
    "purpose.TRANSRCH": ("转化研究", "translational research"),
    "purpose.FAMRQT": ("应家属要求", "at the family's request"),
    "purpose.PWATRNY": ("应法定代理人要求", "at a legal representative's request"),
    "purpose.SUPNWK": ("应照护支持者要求", "at the request of those who support the patient"),
    "purpose.CLINTRL": ("临床试验中的诊治", "treatment in a clinical trial"),
    "purpose.COC": ("照护衔接", "coordination of care"),
    "purpose.ERTREAT": ("急诊", "treatment in an emergency room"),
    "purpose.POPHLTH": ("群体健康", "population health"),
}

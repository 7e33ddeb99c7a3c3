"""Care pathways: for each illness who gets it, which visits follow one another, and what is done and found at each.

A pathway is coherent in itself: drugs and procedures fit the diagnosis, values lie where the illness puts them, and follow-up
shows the effect of the treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit, or a series of equal ones.

    Attributes:
        kind: HL7 v3-ActCode: ``AMB`` outpatient, ``IMP`` inpatient, ``EMER`` emergency.
        after: bounds in days since the visit before.
        note: why the patient came, in the record's words.
        panels: keys of laboratory panels.
        values: ranges that replace the normal ones, by test key; for findings ``("POS", "")`` or ``("NEG", "")``.
        vitals: keys of vital signs and scales; ``bp`` stands for both pressures.
        reports: keys of imaging and other reports.
        drugs: keys of drugs.
        operations: keys of procedures.
        stay: bounds of the length of stay in days.
        times: bounds of how often it happens.
        urgent: true if the procedure does not wait for the next morning.
    """

    kind: str
    after: tuple[int, int]
    note: str
    panels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    vitals: tuple[str, ...] = ("bp", "hr")
    reports: tuple[str, ...] = ()
    drugs: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    stay: tuple[int, int] = (0, 0)
    times: tuple[int, int] = (1, 1)
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Pathway:
    """An illness from the first visit to the last.

    Attributes:
        department: key of the department.
        diagnoses: ICD-10 codes, the main one first.
        age: bounds of the age in years at the first visit.
        sex: ``male``, ``female`` or empty for either.
        visits: what happens, in order.
        chronic: true if it stays; else it is resolved at the end.
        before: bounds in months from the onset to the first visit.
    """

    department: str
    diagnoses: tuple[str, ...]
    age: tuple[int, int]
    sex: str
    visits: tuple[Visit, ...]
    chronic: bool = False
    before: tuple[int, int] = (0, 0)


_HIGH_BP: Final = {"sbp": ("148", "172"), "dbp": ("92", "108")}
_HIGH_SUGAR: Final = {"fpg": ("8.10", "12.90"), "hba1c": ("7.6", "10.2"), "acr": ("18.00", "64.00")}
_FEVER: Final = {"temp": ("38.0", "39.6"), "wbc": ("11.20", "17.80"), "neut": ("78.0", "91.0"), "lymph": ("6.0", "17.0"),
                 "crp": ("38.00", "162.00"), "pct": ("0.120", "2.460")}  # fmt: skip
_NEGATIVE: Final = {"hbsag": ("NEG", ""), "hivab": ("NEG", ""), "rpr": ("NEG", "")}

PATHWAYS: Final = {
    "hypertension": Pathway("cardio", ("I10", "E78.5"), (42, 74), "", (
        Visit("AMB", (0, 0), "反复头晕、头胀2月，家庭自测血压升高。", ("lipids", "kidney", "electrolytes"),
              {**_HIGH_BP, "chol": ("5.30", "6.90"), "ldl": ("3.50", "4.80")}, ("bp", "hr", "weight"),
              ("ecg_normal", "echo"), ("amlodipine", "atorvastatin")),
        Visit("AMB", (28, 45), "口服降压药后复诊，头晕好转。", (), {"sbp": ("136", "152")}, drugs=("amlodipine", "valsartan")),
        Visit("AMB", (150, 230), "高血压定期随访，无不适。", ("lipids", "kidney"), {"ldl": ("1.60", "2.60")},
              drugs=("amlodipine", "valsartan", "atorvastatin"), times=(2, 4)),
    ), chronic=True, before=(2, 60)),
    "diabetes": Pathway("endo", ("E11.9",), (38, 72), "", (
        Visit("AMB", (0, 0), "口干、多饮、多尿3月，体重下降约4kg。", ("glucose", "kidney", "acr"), _HIGH_SUGAR,
              ("bp", "hr", "weight"), drugs=("metformin",)),
        Visit("AMB", (85, 110), "糖尿病复诊，饮食控制尚可。", ("glucose",), {"fpg": ("6.40", "8.60"), "hba1c": ("6.6", "7.8")},
              drugs=("metformin", "dapagliflozin")),
        Visit("AMB", (150, 220), "糖尿病定期随访。", ("glucose", "lipids", "acr"), {"fpg": ("5.60", "7.40"), "hba1c": ("6.1", "7.2")},
              drugs=("metformin", "dapagliflozin"), times=(2, 3)),
    ), chronic=True, before=(1, 24)),
    "neuropathy": Pathway("endo", ("E11.4", "I10"), (48, 66), "", (
        Visit("IMP", (0, 0), "血糖升高数年，双足麻木、刺痛1月，为调整降糖方案入院。",
              ("glucose", "kidney", "liver", "lipids", "acr", "cbc"), {**_HIGH_SUGAR, "sbp": ("140", "156")},
              ("bp", "hr", "temp", "weight"), ("us_fatty", "ecg_normal"), ("metformin", "glargine", "mecobalamin"), stay=(7, 10)),
        Visit("AMB", (60, 90), "出院后复诊，双足麻木较前减轻。", ("glucose",), {"fpg": ("6.20", "7.90"), "hba1c": ("6.7", "7.6")},
              drugs=("metformin", "glargine", "mecobalamin"), times=(2, 3)),
    ), chronic=True),
    "coronary": Pathway("cardio", ("I20.0", "I25.1"), (52, 76), "", (
        Visit("EMER", (0, 0), "活动后胸骨后压榨样疼痛3天，加重2小时。", ("cardiac", "cbc", "coagulation"),
              {"tni": ("0.050", "0.190"), "bnp": ("180.0", "640.0")}, ("bp", "hr", "spo2"), ("ecg_ischaemia",),
              ("aspirin", "clopidogrel")),
        Visit("IMP", (0, 0), "因不稳定型心绞痛由急诊收入院，拟行冠状动脉造影。", ("cardiac", "lipids", "liver", "kidney", "preop"),
              {**_NEGATIVE, "ldl": ("3.40", "4.60")}, ("bp", "hr", "temp"), ("echo",),
              ("aspirin", "clopidogrel", "atorvastatin", "metoprolol"), ("angiography", "stent"), (5, 8)),
        Visit("AMB", (30, 60), "支架术后复诊，无胸痛发作。", ("lipids", "liver"), {"ldl": ("1.20", "1.90")}, reports=("ecg_normal",),
              drugs=("aspirin", "clopidogrel", "atorvastatin", "metoprolol"), times=(2, 4)),
    ), chronic=True),
    "pneumonia": Pathway("resp", ("J18.9",), (24, 82), "", (
        Visit("IMP", (0, 0), "发热、咳嗽、咳黄痰4天，胸部CT提示右下肺炎症。", ("cbc", "inflammation", "liver", "kidney"), _FEVER,
              ("bp", "hr", "temp", "spo2"), ("ct_pneumonia",), ("ceftriaxone", "moxifloxacin", "ambroxol"), stay=(6, 11)),
        Visit("AMB", (14, 24), "肺炎出院后复查，偶有咳嗽，无发热。", ("cbc", "inflammation"), {}, ("temp", "spo2"), ("ct_pneumonia_after",),
              ("ambroxol",)),
    )),
    "gallstone": Pathway("surgery", ("K80.1",), (28, 70), "", (
        Visit("AMB", (0, 0), "进食油腻后右上腹隐痛半年。", ("liver", "cbc"), {}, ("bp", "temp"), ("us_gallstone",)),
        Visit("IMP", (10, 25), "胆囊结石，为行手术治疗入院。", ("cbc", "liver", "kidney", "coagulation", "preop"), _NEGATIVE,
              ("bp", "hr", "temp"), ("chest_normal", "ecg_normal", "pathology_gallbladder"), ("cefuroxime",),
              ("cholecystectomy",), (4, 6)),
        Visit("AMB", (10, 16), "术后复诊，切口愈合良好。", (), {}, ("bp", "temp")),
    )),
    "lung_cancer": Pathway("thoracic", ("C34.1",), (52, 73), "", (
        Visit("AMB", (0, 0), "体检发现左肺上叶结节1周。", ("tumour", "cbc"), {"cea": ("5.60", "18.90")}, ("bp", "spo2"), ("ct_tumour",)),
        Visit("IMP", (9, 18), "左肺上叶占位，为行手术治疗入院。", ("cbc", "liver", "kidney", "coagulation", "preop"), _NEGATIVE,
              ("bp", "hr", "temp", "spo2"), ("ecg_normal", "echo", "pathology_lung"), ("cefuroxime",), ("lobectomy",), (8, 13)),
        Visit("AMB", (85, 100), "肺癌术后靶向治疗中，定期复查。", ("tumour", "liver", "cbc"), {}, ("bp", "spo2", "weight"), ("ct_tumour_after",),
              ("osimertinib",), times=(2, 3)),
    ), chronic=True),
    "depression": Pathway("psychiatry", ("F32.1",), (17, 58), "", (
        Visit("AMB", (0, 0), "情绪低落、兴趣减退、早醒2月，伴自责，否认自杀计划。", ("thyroid", "cbc"),
              {"phq9": ("15", "19"), "gad7": ("6", "11")}, ("bp", "phq9", "gad7"), drugs=("escitalopram",), operations=("psychotherapy",)),
        Visit("AMB", (13, 21), "服药两周，睡眠改善，仍感乏力。", (), {"phq9": ("11", "15"), "gad7": ("5", "9")}, ("phq9", "gad7"),
              drugs=("escitalopram",), operations=("psychotherapy",)),
        Visit("AMB", (28, 60), "抑郁症复诊，情绪平稳，已恢复工作学习。", (), {"phq9": ("3", "9"), "gad7": ("2", "6")}, ("phq9", "gad7"),
              drugs=("escitalopram",), times=(2, 4)),
    ), chronic=True, before=(2, 5)),
    "severe_depression": Pathway("psychiatry", ("F32.2",), (22, 55), "", (
        Visit("EMER", (0, 0), "服用过量镇静药物后2小时，由家属送入，神志清。", ("cbc", "liver", "electrolytes"), {"phq9": ("21", "26")},
              ("bp", "hr", "spo2", "phq9"), ("ecg_normal",)),
        Visit("IMP", (0, 1), "重度抑郁发作，自杀未遂，收入精神科病房。", ("thyroid", "liver"), {"phq9": ("20", "25"), "gad7": ("12", "18")},
              ("bp", "hr", "phq9", "gad7"), drugs=("sertraline", "quetiapine"), operations=("mect", "psychotherapy"), stay=(18, 28)),
        Visit("AMB", (14, 30), "出院后复诊，情绪明显好转，家属陪护。", (), {"phq9": ("6", "12")}, ("phq9",), drugs=("sertraline", "quetiapine"),
              operations=("psychotherapy",), times=(2, 4)),
    ), chronic=True, before=(3, 9)),
    "anxiety": Pathway("psychiatry", ("F41.1",), (20, 60), "", (
        Visit("AMB", (0, 0), "紧张担心、心慌、入睡困难半年。", ("thyroid",), {"gad7": ("14", "19"), "phq9": ("6", "10"), "hr": ("92", "112")},
              ("bp", "hr", "gad7", "phq9"), ("ecg_normal",), ("sertraline", "lorazepam"), ("psychotherapy",)),
        Visit("AMB", (21, 50), "焦虑症状减轻，睡眠约6小时。", (), {"gad7": ("5", "11")}, ("gad7",), drugs=("sertraline",), times=(2, 3)),
    ), chronic=True, before=(5, 10)),
    "bipolar": Pathway("psychiatry", ("F31.7",), (20, 48), "", (
        Visit("AMB", (0, 0), "双相情感障碍，缓解期维持治疗，复诊。", ("lithium", "thyroid", "kidney"), {"phq9": ("2", "7")}, ("bp", "weight", "phq9"),
              drugs=("lithium", "quetiapine"), times=(1, 1)),
        Visit("AMB", (80, 120), "双相情感障碍复诊，病情平稳，监测血锂。", ("lithium",), {"phq9": ("1", "6")}, ("phq9",), drugs=("lithium", "quetiapine"),
              times=(2, 3)),
    ), chronic=True, before=(24, 90)),
    "schizophrenia": Pathway("psychiatry", ("F20.0",), (19, 42), "", (
        Visit("IMP", (0, 0), "猜疑被害、凭空闻语3月，由家属陪同入院。", ("cbc", "liver", "glucose", "lipids"), {}, ("bp", "hr", "weight"), ("ecg_normal",),
              ("olanzapine", "lorazepam"), ("mect",), (24, 38)),
        Visit("AMB", (28, 60), "幻听消失，自知力部分恢复，规律服药。", ("glucose", "lipids"), {"trig": ("1.60", "2.60")}, ("bp", "weight"),
              drugs=("olanzapine",), times=(2, 4)),
    ), chronic=True, before=(3, 8)),
    "hiv": Pathway("infection", ("Z21", "B24"), (22, 52), "", (
        Visit("AMB", (0, 0), "自愿咨询检测初筛阳性，就诊确证。", ("hivscreen", "hivconfirm", "cbc"), {"hivab": ("POS", ""), "hivwb": ("POS", "")},
              ("bp", "temp", "weight")),
        Visit("AMB", (7, 14), "HIV感染确证，启动抗病毒治疗前评估。", ("hivfollow", "liver", "kidney", "hbv"),
              {"cd4": ("186", "438"), "hivrna": ("1.20E+4", "9.80E+4"), "hbsag": ("NEG", ""), "hbvdna": ("<", "")},
              ("bp", "weight"), ("chest_normal",), ("tenofovir", "lamivudine", "efavirenz")),
        Visit("AMB", (84, 100), "抗病毒治疗随访，依从性好，无明显不良反应。", ("hivfollow", "liver", "kidney"),
              {"cd4": ("392", "688"), "hivrna": ("<", "")}, ("bp", "weight"), (), ("tenofovir", "lamivudine", "efavirenz"), times=(2, 4)),
    ), chronic=True),
    "aids_pcp": Pathway("infection", ("B20.6",), (28, 58), "male", (
        Visit("IMP", (0, 0), "发热、干咳、活动后气促2周，HIV抗体阳性。", ("hivscreen", "hivconfirm", "hivfollow", "cbc", "inflammation", "liver"),
              {**_FEVER, "hivab": ("POS", ""), "hivwb": ("POS", ""), "cd4": ("18", "96"), "hivrna": ("1.10E+5", "8.60E+5"),
               "wbc": ("2.60", "5.20"), "spo2": ("86", "92")},
              ("bp", "hr", "temp", "spo2"), ("ct_pcp",), ("cotrimoxazole",), stay=(16, 23)),
        Visit("AMB", (14, 21), "肺孢子菌肺炎好转，启动抗病毒治疗。", ("hivfollow", "liver"), {"cd4": ("88", "160"), "hivrna": ("1.00E+3", "9.90E+3")},
              ("temp", "spo2"), (), ("lamivudine", "tenofovir", "dolutegravir", "cotrimoxazole")),
        Visit("AMB", (84, 110), "艾滋病抗病毒治疗随访。", ("hivfollow",), {"cd4": ("196", "412"), "hivrna": ("<", "")}, ("weight",), (),
              ("lamivudine", "tenofovir", "dolutegravir"), times=(2, 4)),
    ), chronic=True),
    "hepatitis_b": Pathway("infection", ("B18.1",), (30, 60), "", (
        Visit("AMB", (0, 0), "发现乙肝表面抗原阳性10年，乏力1月。", ("hbv", "liver", "tumour"),
              {"hbsag": ("POS", ""), "hbvdna": ("1.20E+5", "9.60E+6"), "alt": ("86", "214"), "ast": ("64", "158")}, ("bp",), ("us_liver",), ("entecavir",)),
        Visit("AMB", (90, 180), "慢性乙肝抗病毒治疗随访。", ("hbv", "liver"), {"hbsag": ("POS", ""), "hbvdna": ("<", "")}, ("bp",), (), ("entecavir",),
              times=(2, 4)),
    ), chronic=True, before=(60, 120)),
    "asthma": Pathway("resp", ("J45.9",), (24, 60), "", (
        Visit("AMB", (0, 0), "反复发作性喘息、夜间憋醒3年，接触冷空气加重。", ("cbc",), {}, ("hr", "spo2"), ("lung_function",), ("budesonide", "salbutamol")),
        Visit("AMB", (60, 150), "哮喘随访，近1月无夜间发作。", (), {}, ("hr", "spo2"), (), ("budesonide",), times=(2, 3)),
    ), chronic=True, before=(24, 60)),
    "child_asthma": Pathway("paediatrics", ("J45.9",), (5, 11), "", (
        Visit("AMB", (0, 0), "反复咳嗽、喘息1年，运动后明显。", ("cbc",), {"wbc": ("5.10", "9.80"), "hgb": ("118", "138"), "weight": ("18.5", "34.0")},
              ("hr", "temp", "weight"), (), ("montelukast", "salbutamol")),
        Visit("AMB", (45, 100), "儿童哮喘随访，咳嗽减少。", (), {"weight": ("19.5", "36.0")}, ("hr", "weight"), (), ("montelukast",), times=(2, 3)),
    ), chronic=True, before=(6, 14)),
    "kidney": Pathway("renal", ("N18.3", "I10"), (48, 76), "", (
        Visit("AMB", (0, 0), "体检发现血肌酐升高1月，夜尿增多。", ("kidney", "electrolytes", "acr", "cbc"),
              {"crea": ("132.0", "176.0"), "egfr": ("32.0", "56.0"), "urea": ("8.60", "13.40"), "acr": ("120.00", "460.00"), **_HIGH_BP},
              ("bp", "weight"), ("us_kidney",), ("irbesartan", "amlodipine")),
        Visit("AMB", (80, 120), "慢性肾脏病随访，血压控制可。", ("kidney", "electrolytes"),
              {"crea": ("128.0", "182.0"), "egfr": ("31.0", "55.0"), "urea": ("8.20", "12.60")}, drugs=("irbesartan", "amlodipine"), times=(2, 3)),
    ), chronic=True, before=(6, 48)),
    "thyroid": Pathway("endo", ("E03.9",), (26, 62), "female", (
        Visit("AMB", (0, 0), "乏力、怕冷、体重增加半年。", ("thyroid", "lipids"), {"tsh": ("12.400", "46.800"), "ft4": ("5.20", "10.80")}, ("hr", "weight"),
              ("us_thyroid",), ("levothyroxine",)),
        Visit("AMB", (42, 60), "甲减替代治疗复查。", ("thyroid",), {"tsh": ("2.100", "6.900")}, ("hr", "weight"), (), ("levothyroxine",)),
        Visit("AMB", (150, 200), "甲减定期随访，无不适。", ("thyroid",), {}, ("hr", "weight"), (), ("levothyroxine",), times=(2, 3)),
    ), chronic=True, before=(5, 8)),
    "stroke": Pathway("neuro", ("I63.9", "I10"), (58, 82), "", (
        Visit("EMER", (0, 0), "突发右侧肢体无力、言语不清1.5小时。", ("cbc", "coagulation", "electrolytes"), _HIGH_BP, ("bp", "hr", "spo2"), ("ct_head",),
              ("alteplase",), ("thrombolysis",)),
        Visit("IMP", (0, 0), "急性脑梗死静脉溶栓后，收入卒中单元。", ("lipids", "glucose", "liver", "kidney"), {"ldl": ("3.10", "4.40")},
              ("bp", "hr", "temp"), ("mr_brain", "echo"), ("aspirin", "atorvastatin"), stay=(9, 14)),
        Visit("AMB", (30, 75), "脑梗死恢复期复诊，右侧肌力Ⅴ级，言语流利。", ("lipids",), {"ldl": ("1.30", "1.90")}, drugs=("aspirin", "atorvastatin", "amlodipine"),
              times=(2, 3)),
    ), chronic=True),
    "appendicitis": Pathway("surgery", ("K35.8",), (12, 55), "", (
        Visit("EMER", (0, 0), "转移性右下腹痛12小时，伴恶心、低热。", ("cbc", "inflammation"), {**_FEVER, "temp": ("37.6", "38.4"), "pain": ("5", "8")},
              ("hr", "temp", "pain"), ("us_appendix",)),
        Visit("IMP", (0, 0), "急性阑尾炎，急诊手术入院。", ("coagulation", "preop", "liver"), _NEGATIVE, ("bp", "hr", "temp"), (), ("cefuroxime",),
              ("appendectomy",), (3, 6), urgent=True),
        Visit("AMB", (8, 14), "阑尾切除术后复诊，切口甲级愈合。", ("cbc",), {}, ("temp",)),
    )),
    "gastritis": Pathway("gastro", ("K29.5",), (24, 68), "", (
        Visit("AMB", (0, 0), "上腹胀痛、反酸、嗳气3月。", ("breath", "stool"), {"hp": ("NEG", ""), "fob": ("NEG", "")}, ("bp",), ("gastroscopy",),
              ("rabeprazole", "hydrotalcite"), ("gastroscopy",)),
        Visit("AMB", (28, 45), "慢性胃炎复诊，腹胀缓解。", (), {}, ("bp",), (), ("rabeprazole",)),
    )),
    "checkup": Pathway("general", ("Z00.0",), (25, 70), "", (
        Visit("AMB", (0, 0), "年度健康体检。", ("cbc", "liver", "kidney", "lipids", "glucose"), {}, ("bp", "hr", "weight"),
              ("chest_normal", "us_normal", "ecg_normal")),
        Visit("AMB", (350, 400), "年度健康体检。", ("cbc", "liver", "lipids", "glucose"), {"trig": ("1.20", "2.40")}, ("bp", "weight"), ("us_fatty",), times=(1, 2)),
    )),
    "knee": Pathway("ortho", ("M17.1",), (60, 78), "", (
        Visit("AMB", (0, 0), "双膝疼痛5年，上下楼加重1年。", (), {"pain": ("5", "7")}, ("bp", "pain", "weight"), ("xr_knee",), ("celecoxib",)),
        Visit("IMP", (40, 120), "双膝骨关节炎，为行右膝关节置换入院。", ("cbc", "liver", "kidney", "coagulation", "preop"), _NEGATIVE, ("bp", "hr", "temp"),
              ("ecg_normal", "chest_normal"), ("cefuroxime", "celecoxib", "rivaroxaban"), ("knee",), (8, 12)),
        Visit("AMB", (30, 50), "右膝置换术后复诊，屈膝可达110度。", (), {"pain": ("1", "3")}, ("bp", "pain"), (), ("celecoxib",)),
    ), chronic=True, before=(48, 72)),
    "hip": Pathway("ortho", ("S72.0",), (68, 86), "", (
        Visit("EMER", (0, 0), "在家中跌倒后右髋疼痛、不能站立3小时。", ("cbc", "coagulation"), {"pain": ("6", "9")}, ("bp", "hr", "pain"), ("xr_hip",)),
        Visit("IMP", (0, 0), "右股骨颈骨折，收入院拟行手术。", ("liver", "kidney", "electrolytes", "preop"), {**_NEGATIVE, "hgb": ("92", "118")},
              ("bp", "hr", "temp"), ("ecg_normal", "echo", "xr_hip_after"), ("cefuroxime", "rivaroxaban"), ("hip",), (9, 14)),
        Visit("AMB", (35, 60), "股骨头置换术后复诊，可扶拐行走。", ("cbc",), {}, ("bp", "pain"), ("xr_hip_after",), ("celecoxib",)),
    )),
    "pregnancy": Pathway("obstetrics", ("Z34.9", "O80.0"), (23, 36), "female", (
        Visit("AMB", (0, 0), "停经12周，建档产检。", ("cbc", "preop", "thyroid", "liver"), {**_NEGATIVE, "hgb": ("112", "132")}, ("bp", "weight"), (), ("folic",)),
        Visit("AMB", (26, 40), "孕期常规产检，胎动正常。", ("cbc",), {"hgb": ("102", "124")}, ("bp", "weight"), ("us_foetus",), ("ferrous",), times=(3, 3)),
        Visit("IMP", (60, 75), "孕39周，规律下腹痛4小时入院待产。", ("cbc", "coagulation"), {"hgb": ("104", "122")}, ("bp", "hr", "temp"), (), ("oxytocin",),
              ("delivery",), (3, 4), urgent=True),
        Visit("AMB", (41, 46), "产后42天复查，恶露已净，子宫复旧良好。", ("cbc",), {}, ("bp", "weight")),
    )),
    "caesarean": Pathway("obstetrics", ("O34.2",), (28, 40), "female", (
        Visit("AMB", (0, 0), "瘢痕子宫，孕24周产检。", ("cbc", "glucose"), {"hgb": ("104", "126"), "fpg": ("4.10", "5.00")}, ("bp", "weight"), ("us_foetus",),
              ("ferrous",), times=(1, 1)),
        Visit("AMB", (28, 35), "孕期产检，无腹痛及阴道流血。", ("cbc",), {"hgb": ("102", "122")}, ("bp", "weight"), ("us_foetus",), times=(2, 2)),
        Visit("IMP", (40, 48), "瘢痕子宫，孕39周，要求剖宫产入院。", ("cbc", "coagulation", "preop"), {**_NEGATIVE, "hgb": ("104", "122")},
              ("bp", "hr", "temp"), (), ("cefuroxime", "oxytocin"), ("caesarean",), (4, 6)),
    )),
    "anaemia": Pathway("general", ("D50.9",), (20, 48), "female", (
        Visit("AMB", (0, 0), "乏力、活动后心慌2月，月经量多。", ("cbc", "iron"), {"hgb": ("78", "98"), "rbc": ("3.10", "3.70"), "ferritin": ("3.2", "11.8")},
              ("bp", "hr"), (), ("ferrous",)),
        Visit("AMB", (28, 40), "补铁治疗后复查，乏力好转。", ("cbc",), {"hgb": ("102", "118")}, ("bp", "hr"), (), ("ferrous",), times=(1, 2)),
    )),
    "gout": Pathway("endo", ("M10.9",), (32, 64), "male", (
        Visit("AMB", (0, 0), "右足第一跖趾关节红肿热痛2天。", ("kidney", "inflammation"), {"urate": ("486", "642"), "crp": ("12.00", "46.00"), "pain": ("6", "8")},
              ("bp", "pain"), (), ("celecoxib",)),
        Visit("AMB", (25, 40), "痛风缓解期，降尿酸治疗。", ("kidney",), {"urate": ("420", "520")}, ("bp",), (), ("febuxostat",)),
        Visit("AMB", (90, 140), "痛风随访，未再发作。", ("kidney",), {"urate": ("296", "358")}, ("bp",), (), ("febuxostat",), times=(1, 3)),
    ), chronic=True),
    "cold": Pathway("general", ("J06.9",), (16, 75), "", (
        Visit("AMB", (0, 0), "发热、咽痛、流涕2天。", ("cbc", "flu"), {"temp": ("37.8", "38.9"), "flua": ("NEG", "")}, ("temp", "hr"), (), ("ibuprofen",)),
    )),
    "child_cold": Pathway("paediatrics", ("J06.9",), (3, 11), "", (
        Visit("AMB", (0, 0), "发热1天，伴流涕、咽红。", ("cbc", "flu"), {"temp": ("38.1", "39.4"), "flua": ("NEG", ""), "hgb": ("116", "136"),
                                                         "hr": ("96", "128")}, ("temp", "hr")),
    )),
    "gastroenteritis": Pathway("emergency", ("A09.9",), (16, 70), "", (
        Visit("EMER", (0, 0), "不洁饮食后腹痛、水样便6次，伴恶心。", ("cbc", "electrolytes", "stool"), {"k": ("3.20", "3.90"), "fob": ("NEG", "")},
              ("bp", "hr", "temp"), (), ("oralrehydration",)),
    )),
    "collapse": Pathway("emergency", ("R55",), (18, 90), "", (
        Visit("EMER", (0, 0), "被路人发现晕倒在地后送入，意识模糊，无家属陪同，无法询问病史。", ("cbc", "electrolytes", "cardiac"),
              {"sbp": ("82", "94"), "dbp": ("48", "58"), "hr": ("112", "128")}, ("bp", "hr", "temp", "spo2"), ("ecg_normal",)),
    )),
}  # fmt: skip
"""Pathways by key; only a planted story uses ``collapse``."""

ROSTER: Final = (
    "gallstone", "neuropathy", "gastritis", "hiv",
    "hypertension", "depression", "coronary", "diabetes", "child_asthma", "pneumonia", "anxiety", "pregnancy", "lung_cancer",
    "hepatitis_b", "stroke", "aids_pcp", "thyroid", "kidney", "severe_depression", "hip", "appendicitis", "asthma", "caesarean",
    "knee", "bipolar", "gout", "hypertension", "checkup", "schizophrenia", "diabetes", "anaemia", "coronary",
)  # fmt: skip
"""Main illness of each patient in turn; the first five are those of the planted stories."""

MINOR: Final = ("cold", "gastroenteritis", "gastritis", "checkup", "anaemia", "anxiety", "pneumonia", "child_cold")
"""Illnesses that any fitting patient may have as well."""

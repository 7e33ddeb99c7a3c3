"""Departments, diagnoses, drugs, procedures and vaccines with their codes, Chinese and English names and prices.

Prices are in fen (hundredths of a yuan), about what a city's tertiary hospital charged in 2021 to 2026.
Sources: ICD-10 (WHO), ICD-9-CM volume 3 as used for operations in China, ATC (WHO), CVX (CDC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Term:
    """A code with its names.

    Attributes:
        code: code in the system that the table's name tells.
        zh: Chinese name.
        en: English name.
    """

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Drug:
    """A medicine as it is prescribed.

    Attributes:
        atc: ATC code.
        zh: Chinese generic name with form.
        en: English name.
        pack: strength and pack, as printed.
        dose: amount of a single dose.
        unit: UCUM unit of the dose.
        times: doses a day.
        route: Chinese name of the route.
        days: days that one pack lasts.
        price: of one pack.
    """

    atc: str
    zh: str
    en: str
    pack: str
    dose: str
    unit: str
    times: int
    route: str
    days: int
    price: int


@dataclass(frozen=True, slots=True)
class Operation:
    """A procedure.

    Attributes:
        code: ICD-9-CM-3 code.
        zh: Chinese name.
        en: English name.
        minutes: how long it takes.
        price: operation or treatment fee.
        materials: fee for implants and other material.
        note: sentence of the operation record.
    """

    code: str
    zh: str
    en: str
    minutes: int
    price: int
    materials: int
    note: str


DEPARTMENTS: Final = {
    "cardio": Term("0302", "心血管内科", "Cardiology"),
    "endo": Term("0307", "内分泌科", "Endocrinology"),
    "resp": Term("0301", "呼吸与危重症医学科", "Respiratory medicine"),
    "gastro": Term("0303", "消化内科", "Gastroenterology"),
    "surgery": Term("0401", "普通外科", "General surgery"),
    "thoracic": Term("0405", "胸外科", "Thoracic surgery"),
    "ortho": Term("0403", "骨科", "Orthopaedics"),
    "neuro": Term("0304", "神经内科", "Neurology"),
    "obstetrics": Term("0502", "产科", "Obstetrics"),
    "paediatrics": Term("0700", "儿科", "Paediatrics"),
    "psychiatry": Term("1501", "精神心理科", "Psychiatry"),
    "infection": Term("1600", "感染性疾病科", "Infectious diseases"),
    "renal": Term("0305", "肾内科", "Nephrology"),
    "emergency": Term("2000", "急诊医学科", "Emergency medicine"),
    "general": Term("0200", "全科医学科", "General practice"),
    "laboratory": Term("3000", "医学检验科", "Clinical laboratory"),
    "imaging": Term("3200", "医学影像科", "Medical imaging"),
}
"""Departments by key; the codes are those of the national list of clinical departments, shortened."""

DIAGNOSES: Final = {
    "I10": Term("I10", "原发性高血压", "Essential (primary) hypertension"),
    "E78.5": Term("E78.5", "高脂血症", "Hyperlipidaemia, unspecified"),
    "E11.9": Term("E11.9", "2型糖尿病不伴有并发症", "Type 2 diabetes mellitus without complications"),
    "E11.4": Term("E11.4", "2型糖尿病伴有神经并发症", "Type 2 diabetes mellitus with neurological complications"),
    "I20.0": Term("I20.0", "不稳定型心绞痛", "Unstable angina"),
    "I25.1": Term("I25.1", "冠状动脉粥样硬化性心脏病", "Atherosclerotic heart disease"),
    "J18.9": Term("J18.9", "社区获得性肺炎", "Pneumonia, unspecified"),
    "K80.1": Term("K80.1", "胆囊结石伴慢性胆囊炎", "Calculus of gallbladder with other cholecystitis"),
    "C34.1": Term("C34.1", "左肺上叶恶性肿瘤", "Malignant neoplasm of upper lobe, bronchus or lung"),
    "F32.1": Term("F32.1", "中度抑郁发作", "Moderate depressive episode"),
    "F32.2": Term("F32.2", "重度抑郁发作，不伴有精神病性症状", "Severe depressive episode without psychotic symptoms"),
    "F41.1": Term("F41.1", "广泛性焦虑障碍", "Generalized anxiety disorder"),
    "F31.7": Term("F31.7", "双相情感障碍，目前为缓解状态", "Bipolar affective disorder, currently in remission"),
    "F20.0": Term("F20.0", "偏执型精神分裂症", "Paranoid schizophrenia"),
    "Z21": Term("Z21", "无症状HIV感染状态", "Asymptomatic HIV infection status"),
    "B20.6": Term("B20.6", "HIV病造成的肺孢子菌肺炎", "HIV disease resulting in Pneumocystis pneumonia"),
    "B24": Term("B24", "人类免疫缺陷病毒病", "Unspecified human immunodeficiency virus [HIV] disease"),
    "B18.1": Term("B18.1", "慢性乙型病毒性肝炎", "Chronic viral hepatitis B without delta-agent"),
    "J45.9": Term("J45.9", "支气管哮喘", "Asthma, unspecified"),
    "N18.3": Term("N18.3", "慢性肾脏病3期", "Chronic kidney disease, stage 3"),
    "E03.9": Term("E03.9", "甲状腺功能减退症", "Hypothyroidism, unspecified"),
    "I63.9": Term("I63.9", "急性脑梗死", "Cerebral infarction, unspecified"),
    "K35.8": Term("K35.8", "急性阑尾炎", "Acute appendicitis, other and unspecified"),
    "K29.5": Term("K29.5", "慢性胃炎", "Chronic gastritis, unspecified"),
    "Z00.0": Term("Z00.0", "健康查体", "General medical examination"),
    "M17.1": Term("M17.1", "原发性膝关节骨关节炎", "Other primary gonarthrosis"),
    "S72.0": Term("S72.0", "股骨颈骨折", "Fracture of neck of femur"),
    "Z34.9": Term("Z34.9", "正常妊娠监督", "Supervision of normal pregnancy, unspecified"),
    "O80.0": Term("O80.0", "头位自然分娩", "Spontaneous vertex delivery"),
    "O34.2": Term("O34.2", "妊娠合并子宫瘢痕", "Maternal care due to uterine scar from previous surgery"),
    "J06.9": Term("J06.9", "急性上呼吸道感染", "Acute upper respiratory infection, unspecified"),
    "A09.9": Term("A09.9", "急性胃肠炎", "Gastroenteritis and colitis of unspecified origin"),
    "D50.9": Term("D50.9", "缺铁性贫血", "Iron deficiency anaemia, unspecified"),
    "M10.9": Term("M10.9", "痛风性关节炎", "Gout, unspecified"),
    "R55": Term("R55", "晕厥和虚脱", "Syncope and collapse"),
}
"""Diagnoses by ICD-10 code."""

DRUGS: Final = {
    "amlodipine": Drug("C08CA01", "苯磺酸氨氯地平片", "Amlodipine", "5mg×28片", "5", "mg", 1, "口服", 28, 2856),
    "valsartan": Drug("C09CA03", "缬沙坦胶囊", "Valsartan", "80mg×28粒", "80", "mg", 1, "口服", 28, 3390),
    "irbesartan": Drug("C09CA04", "厄贝沙坦片", "Irbesartan", "0.15g×28片", "0.15", "g", 1, "口服", 28, 2190),
    "atorvastatin": Drug("C10AA05", "阿托伐他汀钙片", "Atorvastatin", "20mg×28片", "20", "mg", 1, "口服", 28, 2450),
    "metformin": Drug("A10BA02", "盐酸二甲双胍片", "Metformin", "0.5g×60片", "0.5", "g", 2, "口服", 30, 1980),
    "dapagliflozin": Drug("A10BK01", "达格列净片", "Dapagliflozin", "10mg×30片", "10", "mg", 1, "口服", 30, 10950),
    "glargine": Drug("A10AE04", "甘精胰岛素注射液", "Insulin glargine", "3ml:300单位", "14", "[IU]", 1, "皮下注射", 21, 6990),
    "mecobalamin": Drug("B03BA05", "甲钴胺片", "Mecobalamin", "0.5mg×60片", "0.5", "mg", 3, "口服", 20, 3120),
    "aspirin": Drug("B01AC06", "阿司匹林肠溶片", "Aspirin", "100mg×30片", "100", "mg", 1, "口服", 30, 1590),
    "clopidogrel": Drug("B01AC04", "硫酸氢氯吡格雷片", "Clopidogrel", "75mg×28片", "75", "mg", 1, "口服", 28, 4760),
    "metoprolol": Drug("C07AB02", "琥珀酸美托洛尔缓释片", "Metoprolol", "47.5mg×28片", "47.5", "mg", 1, "口服", 28, 2980),
    "ceftriaxone": Drug("J01DD04", "注射用头孢曲松钠", "Ceftriaxone", "2.0g×1支", "2.0", "g", 1, "静脉滴注", 1, 2520),
    "moxifloxacin": Drug("J01MA14", "盐酸莫西沙星片", "Moxifloxacin", "0.4g×6片", "0.4", "g", 1, "口服", 6, 7860),
    "cefuroxime": Drug("J01DC02", "注射用头孢呋辛钠", "Cefuroxime", "1.5g×1支", "1.5", "g", 2, "静脉滴注", 1, 1840),
    "ambroxol": Drug("R05CB06", "盐酸氨溴索片", "Ambroxol", "30mg×20片", "30", "mg", 3, "口服", 7, 1320),
    "ibuprofen": Drug("M01AE01", "布洛芬缓释胶囊", "Ibuprofen", "0.3g×20粒", "0.3", "g", 2, "口服", 10, 1890),
    "escitalopram": Drug("N06AB10", "草酸艾司西酞普兰片", "Escitalopram", "10mg×28片", "10", "mg", 1, "口服", 28, 8620),
    "sertraline": Drug("N06AB06", "盐酸舍曲林片", "Sertraline", "50mg×28片", "50", "mg", 1, "口服", 28, 7250),
    "lorazepam": Drug("N05BA06", "劳拉西泮片", "Lorazepam", "0.5mg×20片", "0.5", "mg", 2, "口服", 10, 2680),
    "olanzapine": Drug("N05AH03", "奥氮平片", "Olanzapine", "10mg×28片", "10", "mg", 1, "口服", 28, 15640),
    "quetiapine": Drug("N05AH04", "富马酸喹硫平片", "Quetiapine", "0.1g×30片", "0.1", "g", 2, "口服", 15, 6240),
    "lithium": Drug("N05AN01", "碳酸锂片", "Lithium carbonate", "0.25g×100片", "0.25", "g", 3, "口服", 33, 1560),
    "tenofovir": Drug("J05AF07", "富马酸替诺福韦二吡呋酯片", "Tenofovir disoproxil", "300mg×30片", "300", "mg", 1, "口服", 30, 0),
    "lamivudine": Drug("J05AF05", "拉米夫定片", "Lamivudine", "300mg×30片", "300", "mg", 1, "口服", 30, 0),
    "efavirenz": Drug("J05AG03", "依非韦伦片", "Efavirenz", "600mg×30片", "600", "mg", 1, "口服", 30, 0),
    "dolutegravir": Drug("J05AJ03", "多替拉韦钠片", "Dolutegravir", "50mg×30片", "50", "mg", 1, "口服", 30, 92000),
    "cotrimoxazole": Drug("J01EE01", "复方磺胺甲噁唑片", "Co-trimoxazole", "0.48g×100片", "0.96", "g", 3, "口服", 17, 1450),
    "entecavir": Drug("J05AF10", "恩替卡韦片", "Entecavir", "0.5mg×28片", "0.5", "mg", 1, "口服", 28, 3580),
    "levothyroxine": Drug("H03AA01", "左甲状腺素钠片", "Levothyroxine", "50μg×100片", "50", "ug", 1, "口服", 100, 3150),
    "rabeprazole": Drug("A02BC04", "雷贝拉唑钠肠溶片", "Rabeprazole", "20mg×14片", "20", "mg", 1, "口服", 14, 5480),
    "hydrotalcite": Drug("A02AD04", "铝碳酸镁咀嚼片", "Hydrotalcite", "0.5g×20片", "1.0", "g", 3, "咀嚼", 3, 1860),
    "budesonide": Drug("R03AK07", "布地奈德福莫特罗粉吸入剂", "Budesonide and formoterol", "160/4.5μg×60吸", "1",
                       "{puff}", 2, "吸入", 30, 21800),
    "montelukast": Drug("R03DC03", "孟鲁司特钠咀嚼片", "Montelukast", "5mg×12片", "5", "mg", 1, "口服", 12, 3960),
    "salbutamol": Drug("R03AC02", "硫酸沙丁胺醇吸入气雾剂", "Salbutamol", "100μg×200揿", "100", "ug", 2, "吸入", 50, 2240),
    "celecoxib": Drug("M01AH01", "塞来昔布胶囊", "Celecoxib", "0.2g×18粒", "0.2", "g", 1, "口服", 18, 4210),
    "rivaroxaban": Drug("B01AF01", "利伐沙班片", "Rivaroxaban", "10mg×15片", "10", "mg", 1, "口服", 15, 7350),
    "alteplase": Drug("B01AD02", "注射用阿替普酶", "Alteplase", "50mg×1支", "50", "mg", 1, "静脉滴注", 1, 398000),
    "ferrous": Drug("B03AA06", "琥珀酸亚铁片", "Ferrous succinate", "0.1g×60片", "0.1", "g", 3, "口服", 20, 3480),
    "folic": Drug("B03BB01", "叶酸片", "Folic acid", "0.4mg×93片", "0.4", "mg", 1, "口服", 93, 2680),
    "febuxostat": Drug("M04AA03", "非布司他片", "Febuxostat", "40mg×14片", "40", "mg", 1, "口服", 14, 5120),
    "oxytocin": Drug("H01BB02", "缩宫素注射液", "Oxytocin", "1ml:10单位", "10", "[IU]", 1, "静脉滴注", 1, 980),
    "osimertinib": Drug("L01EB04", "甲磺酸奥希替尼片", "Osimertinib", "80mg×30片", "80", "mg", 1, "口服", 30, 557900),
    "oralrehydration": Drug("A07CA", "口服补液盐散（Ⅲ）", "Oral rehydration salts", "5.125g×6袋", "5.125", "g", 3, "口服", 2, 2180),
}  # fmt: skip
"""Drugs by key. Antiretroviral first-line drugs are free of charge in China, hence price 0. No penicillins: some patients are allergic."""

OPERATIONS: Final = {
    "cholecystectomy": Operation("51.23", "腹腔镜下胆囊切除术", "Laparoscopic cholecystectomy", 65, 268000, 412000,
                                 "术中见胆囊壁增厚，与周围轻度粘连，胆囊管结扎确切，术野无活动性出血。"),
    "appendectomy": Operation("47.01", "腹腔镜下阑尾切除术", "Laparoscopic appendectomy", 50, 198000, 305000,
                              "术中见阑尾充血水肿，表面附脓苔，未见穿孔。"),
    "stent": Operation("36.07", "药物洗脱冠状动脉支架置入术", "Insertion of drug-eluting coronary artery stent", 80, 336000,
                       1289000, "前降支近中段植入药物洗脱支架1枚，术后TIMI血流3级。"),
    "angiography": Operation("88.56", "冠状动脉造影术", "Coronary arteriography using two catheters", 40, 189000, 186000,
                             "经右桡动脉入路，造影示前降支近中段狭窄约85%。"),
    "lobectomy": Operation("32.41", "胸腔镜下肺叶切除术", "Thoracoscopic lobectomy of lung", 175, 498000, 2186000,
                           "行左肺上叶切除并系统性淋巴结清扫，切缘阴性。"),
    "gastroscopy": Operation("44.13", "胃镜检查", "Gastroscopy", 15, 32000, 6800, "进镜顺利，患者耐受良好。"),
    "hip": Operation("81.52", "人工股骨头置换术", "Partial hip replacement", 95, 412000, 2476000,
                     "置换假体位置良好，关节活动度满意，双下肢等长。"),
    "knee": Operation("81.54", "全膝关节置换术", "Total knee replacement", 110, 436000, 2988000, "假体位置及下肢力线良好。"),
    "delivery": Operation("73.59", "手法助产", "Manually assisted delivery", 420, 146000, 23000,
                          "会阴Ⅰ度裂伤，予缝合，产后2小时出血约210ml。"),
    "caesarean": Operation("74.1", "子宫下段剖宫产术", "Low cervical caesarean section", 55, 252000, 98000,
                           "娩出一活婴，Apgar评分9-10-10分，术中出血约300ml。"),
    "thrombolysis": Operation("99.10", "静脉溶栓治疗", "Injection of thrombolytic agent", 60, 68000, 4200,
                              "溶栓前NIHSS评分9分，溶栓后24小时评分3分，无出血转化。"),
    "psychotherapy": Operation("94.39", "个体心理治疗", "Individual psychotherapy", 50, 30000, 0,
                               "以认知行为治疗为主，讨论自动思维与睡眠管理。"),
    "mect": Operation("94.27", "改良电休克治疗", "Electroshock therapy", 20, 98000, 15600, "治疗顺利，发作良好，术后意识恢复完全。"),
}  # fmt: skip
"""Procedures by key."""

VACCINES: Final = {
    "flu": Term("140", "流感病毒裂解疫苗", "Influenza, seasonal, injectable, preservative free"),
    "covid": Term("510", "新型冠状病毒灭活疫苗（Vero细胞）", "COVID-19 inactivated vaccine (BIBP)"),
}
"""Vaccines by key; codes are CVX."""

ALLERGIES: Final = (
    (
        Term("91936005", "青霉素过敏", "Allergy to penicillin"),
        "medication",
        "high",
        "皮试阳性，既往注射后出现皮疹、胸闷",
    ),
    (Term("", "海鲜过敏", "Allergy to seafood"), "food", "low", "进食虾蟹后皮肤瘙痒"),
    (Term("", "尘螨过敏", "Allergy to house dust mite"), "environment", "low", "接触后打喷嚏、流涕"),
)
"""Substance (SNOMED CT where a code is given), category, criticality, what happened."""

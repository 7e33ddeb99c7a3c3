"""Laboratory tests, vital signs and rating scales: LOINC codes, UCUM units, adult reference ranges, decimal places, prices.

A range's text tells the decimal places in which the laboratory reports (``3.90`` gives ``5.60``, never ``5.6``).
Sources: LOINC 2.7x, UCUM, and the Chinese adult ranges of WS/T 404 and 405, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity that is measured.

    Attributes:
        code: LOINC code.
        zh: Chinese name.
        unit: unit as printed.
        ucum: the same in UCUM.
        low: lower reference limit; also gives the decimal places.
        high: upper reference limit.
        below: true if a result under a detection limit is reported as "<" (an undetectable virus).
    """

    code: str
    zh: str
    unit: str
    ucum: str
    low: str
    high: str
    below: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A test whose answer is negative or positive.

    Attributes:
        code: LOINC code, or empty for a code of the laboratory's own.
        zh: Chinese name.
    """

    code: str
    zh: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Tests that are ordered and reported together.

    Attributes:
        code: LOINC code, or empty for a code of the laboratory's own.
        zh: Chinese name.
        tests: keys in `TESTS` or `FINDINGS`.
        price: in fen.
    """

    code: str
    zh: str
    tests: tuple[str, ...]
    price: int


TESTS: Final = {
    "wbc": Measure("6690-2", "白细胞计数", "×10⁹/L", "10*9/L", "3.50", "9.50"),
    "neut": Measure("770-8", "中性粒细胞百分比", "%", "%", "40.0", "75.0"),
    "lymph": Measure("736-9", "淋巴细胞百分比", "%", "%", "20.0", "50.0"),
    "rbc": Measure("789-8", "红细胞计数", "×10¹²/L", "10*12/L", "3.80", "5.80"),
    "hgb": Measure("718-7", "血红蛋白", "g/L", "g/L", "115", "175"),
    "plt": Measure("777-3", "血小板计数", "×10⁹/L", "10*9/L", "125", "350"),
    "crp": Measure("1988-5", "C反应蛋白", "mg/L", "mg/L", "0.00", "8.00"),
    "pct": Measure("33959-8", "降钙素原", "ng/mL", "ng/mL", "0.000", "0.050"),
    "alt": Measure("1742-6", "丙氨酸氨基转移酶", "U/L", "U/L", "9", "50"),
    "ast": Measure("1920-8", "天门冬氨酸氨基转移酶", "U/L", "U/L", "15", "40"),
    "tbil": Measure("14631-6", "总胆红素", "μmol/L", "umol/L", "5.0", "21.0"),
    "alb": Measure("1751-7", "白蛋白", "g/L", "g/L", "40.0", "55.0"),
    "urea": Measure("22664-7", "尿素", "mmol/L", "mmol/L", "3.10", "8.00"),
    "crea": Measure("14682-9", "肌酐", "μmol/L", "umol/L", "57.0", "97.0"),
    "urate": Measure("14933-6", "尿酸", "μmol/L", "umol/L", "208", "428"),
    "egfr": Measure("62238-1", "估算肾小球滤过率", "mL/min/1.73m²", "mL/min/{1.73_m2}", "90.0", "120.0"),
    "k": Measure("2823-3", "钾", "mmol/L", "mmol/L", "3.50", "5.30"),
    "na": Measure("2951-2", "钠", "mmol/L", "mmol/L", "137.0", "147.0"),
    "chol": Measure("14647-2", "总胆固醇", "mmol/L", "mmol/L", "3.00", "5.18"),
    "trig": Measure("14927-8", "甘油三酯", "mmol/L", "mmol/L", "0.50", "1.70"),
    "hdl": Measure("14646-4", "高密度脂蛋白胆固醇", "mmol/L", "mmol/L", "1.04", "1.90"),
    "ldl": Measure("22748-8", "低密度脂蛋白胆固醇", "mmol/L", "mmol/L", "1.50", "3.37"),
    "fpg": Measure("14771-0", "空腹血糖", "mmol/L", "mmol/L", "3.90", "6.10"),
    "hba1c": Measure("4548-4", "糖化血红蛋白", "%", "%", "4.0", "6.0"),
    "acr": Measure("14959-1", "尿微量白蛋白/肌酐比值", "mg/g", "mg/g", "0.00", "30.00"),
    "tni": Measure("10839-9", "肌钙蛋白I", "ng/mL", "ng/mL", "0.000", "0.040"),
    "bnp": Measure("33762-6", "N末端B型钠尿肽前体", "pg/mL", "pg/mL", "0.0", "125.0"),
    "dd": Measure("48065-7", "D-二聚体", "mg/L FEU", "mg/L{FEU}", "0.00", "0.55"),
    "inr": Measure("6301-6", "国际标准化比值", "INR", "{INR}", "0.80", "1.20"),
    "aptt": Measure("14979-9", "活化部分凝血活酶时间", "s", "s", "25.0", "37.0"),
    "tsh": Measure("3016-3", "促甲状腺激素", "mIU/L", "m[IU]/L", "0.270", "4.200"),
    "ft4": Measure("14920-3", "游离甲状腺素", "pmol/L", "pmol/L", "12.00", "22.00"),
    "cea": Measure("2039-6", "癌胚抗原", "ng/mL", "ng/mL", "0.00", "5.00"),
    "afp": Measure("1834-1", "甲胎蛋白", "ng/mL", "ng/mL", "0.00", "7.00"),
    "ferritin": Measure("2276-4", "铁蛋白", "ng/mL", "ng/mL", "15.0", "150.0"),
    "cd4": Measure("24467-3", "CD4+T淋巴细胞计数", "个/μL", "/uL", "404", "1612"),
    "hivrna": Measure("20447-9", "HIV-1核酸定量", "拷贝/mL", "{copies}/mL", "20", "20", below=True),
    "hbvdna": Measure("42595-9", "乙型肝炎病毒DNA定量", "IU/mL", "[IU]/mL", "20", "20", below=True),
    "lithium": Measure("14334-7", "血锂浓度", "mmol/L", "mmol/L", "0.60", "1.20"),
}
"""Quantitative laboratory tests by key."""

FINDINGS: Final = {
    "hivab": Finding("31201-7", "HIV抗体（1+2型）初筛"),
    "hivwb": Finding("5221-7", "HIV抗体确证试验（免疫印迹法）"),
    "hbsag": Finding("5195-3", "乙型肝炎病毒表面抗原"),
    "rpr": Finding("20507-0", "梅毒快速血浆反应素试验"),
    "fob": Finding("", "粪便隐血试验"),
    "hp": Finding("", "幽门螺杆菌¹³C呼气试验"),
    "flua": Finding("", "甲型流感病毒抗原"),
}
"""Qualitative tests by key."""

PANELS: Final = {
    "cbc": Panel("58410-2", "血常规", ("wbc", "neut", "lymph", "rbc", "hgb", "plt"), 2500),
    "inflammation": Panel("", "炎症指标", ("crp", "pct"), 12800),
    "liver": Panel("24325-3", "肝功能", ("alt", "ast", "tbil", "alb"), 5600),
    "kidney": Panel("", "肾功能", ("urea", "crea", "urate", "egfr"), 4200),
    "electrolytes": Panel("24326-1", "电解质", ("k", "na"), 2400),
    "lipids": Panel("24331-1", "血脂四项", ("chol", "trig", "hdl", "ldl"), 4800),
    "glucose": Panel("", "糖代谢", ("fpg", "hba1c"), 7500),
    "acr": Panel("", "尿微量白蛋白/肌酐", ("acr",), 4000),
    "cardiac": Panel("", "心肌标志物", ("tni", "bnp"), 26500),
    "coagulation": Panel("", "凝血功能", ("inr", "aptt", "dd"), 9800),
    "thyroid": Panel("", "甲状腺功能", ("tsh", "ft4"), 9000),
    "tumour": Panel("", "肿瘤标志物", ("cea", "afp"), 11000),
    "iron": Panel("", "铁代谢", ("ferritin",), 4500),
    "hivscreen": Panel("", "HIV抗体检测", ("hivab",), 4000),
    "hivconfirm": Panel("", "HIV抗体确证检测", ("hivwb",), 0),
    "hivfollow": Panel("", "HIV随访检测", ("cd4", "hivrna"), 0),
    "preop": Panel("", "术前感染四项", ("hbsag", "hivab", "rpr"), 11500),
    "hbv": Panel("", "乙肝病毒学检测", ("hbsag", "hbvdna"), 16000),
    "stool": Panel("", "粪便检查", ("fob",), 1500),
    "breath": Panel("", "¹³C呼气试验", ("hp",), 17000),
    "flu": Panel("", "流感抗原检测", ("flua",), 6000),
    "lithium": Panel("", "血药浓度监测", ("lithium",), 8000),
}
"""What can be ordered, by key."""

VITALS: Final = {
    "hr": Measure("8867-4", "心率", "次/分", "/min", "62", "96"),
    "temp": Measure("8310-5", "体温", "℃", "Cel", "36.1", "37.1"),
    "spo2": Measure("59408-5", "血氧饱和度", "%", "%", "95", "100"),
    "weight": Measure("29463-7", "体重", "kg", "kg", "50.0", "85.0"),
    "sbp": Measure("8480-6", "收缩压", "mmHg", "mm[Hg]", "104", "138"),
    "dbp": Measure("8462-4", "舒张压", "mmHg", "mm[Hg]", "64", "88"),
}
"""Vital signs by key; the limits are what a well adult shows."""

SCALES: Final = {
    "phq9": Measure("44261-6", "患者健康问卷（PHQ-9）总分", "分", "{score}", "0", "4"),
    "gad7": Measure("70274-6", "广泛性焦虑量表（GAD-7）总分", "分", "{score}", "0", "4"),
    "pain": Measure("72514-3", "疼痛数字评分（NRS）", "分", "{score}", "0", "3"),
}
"""Rating scales by key."""

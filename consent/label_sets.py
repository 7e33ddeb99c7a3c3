"""The code sets that we carry, from which sensitivity labels are set. A table, pure.

Keeps true: a version's rows never change; what is added gets a new version. Trusts nothing.
Source: ICD-10 (WHO, 2019): categories and blocks, no texts, which ICD-10-CM shares with it; LOINC: common codes of
sensitive tests and scores, and those of HL7's R4 examples and IHE PCF (LOINC is copyright Regenstrief Institute, free
under its licence, loinc.org/license). SNOMED CT and RxNorm are not carried: who has a licence loads a set
(`docs/spec/labels.md`).
"""

from __future__ import annotations

from typing import Final

CARRIED_ID: Final = "medchain"
"""Id of the set that we carry."""

CARRIED_VERSION: Final = "2026-12"
"""Its version."""

ICD10: Final = ("http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm")
"""Code systems that the rows of ICD-10 are for."""

LOINC: Final = "http://loinc.org"
"""Code system of LOINC."""

ICD10_ROWS: Final[tuple[tuple[str, str, str], ...]] = (
    ("A50", "A64", "STD"),  # infections with a predominantly sexual mode of transmission
    ("B20", "B24", "HIV"),  # HIV disease
    ("D57", "D57", "SICKLE"),  # sickle-cell disorders
    ("F00", "F09", "PSY"),  # mental and behavioural disorders, but for psychoactive substances
    ("F024", "F024", "HIV"),  # dementia in HIV disease
    ("F10", "F10", "ETHUD"),  # use of alcohol
    ("F11", "F11", "OPIOIDUD"),  # use of opioids
    ("F12", "F19", "SUD"),  # use of other psychoactive substances
    ("F20", "F99", "PSY"),
    ("F52", "F52", "SEX"),  # sexual dysfunction
    ("F64", "F66", "SEX"),  # gender identity, sexual preference, sexual development
    ("F70", "F79", "COGN"),  # intellectual disability
    ("F80", "F89", "DVD"),  # psychological development
    ("G10", "G10", "GDIS"),  # Huntington disease
    ("N46", "N46", "SEX"),  # male infertility
    ("N97", "N97", "SEX"),  # female infertility
    ("O00", "O99", "SEX"),  # pregnancy, childbirth, puerperium
    ("O987", "O987", "HIV"),  # HIV disease in pregnancy
    ("Q90", "Q99", "GDIS"),  # chromosomal abnormalities
    ("R75", "R75", "HIV"),  # laboratory evidence of HIV
    ("T40", "T40", "SUD"),  # poisoning by narcotics and psychodysleptics
    ("T74", "T74", "SDV"),  # maltreatment syndromes
    ("X60", "X84", "PSY"),  # intentional self-harm
    ("X85", "Y09", "VIO"),  # assault
    ("Y05", "Y07", "SDV"),  # sexual assault, neglect, other maltreatment
    ("Z044", "Z044", "SDV"),  # examination after alleged rape
    ("Z045", "Z045", "VIO"),  # examination after other inflicted injury
    ("Z113", "Z113", "STD"),  # screening for sexually transmitted infections
    ("Z114", "Z114", "HIV"),  # screening for HIV
    ("Z202", "Z202", "STD"),  # exposure to sexually transmitted infections
    ("Z206", "Z206", "HIV"),  # exposure to HIV
    ("Z21", "Z21", "HIV"),  # asymptomatic HIV infection status
    ("Z30", "Z39", "SEX"),  # circumstances related to reproduction
    ("Z315", "Z315", "GDIS"),  # genetic counselling
    ("Z502", "Z502", "ETHUD"),  # alcohol rehabilitation
    ("Z503", "Z503", "SUD"),  # drug rehabilitation
    ("Z614", "Z616", "SDV"),  # alleged abuse of a child
    ("Z70", "Z70", "SEX"),  # counselling related to sexuality
    ("Z714", "Z714", "ETHUD"),  # counselling for alcohol abuse
    ("Z715", "Z715", "SUD"),  # counselling for drug abuse
    ("Z717", "Z717", "HIV"),  # HIV counselling
    ("Z721", "Z721", "ETHUD"),  # alcohol use
    ("Z722", "Z722", "SUD"),  # drug use
    ("Z830", "Z830", "HIV"),  # family history of HIV disease
    ("Z915", "Z915", "PSY"),  # personal history of self-harm
)
"""(first, last, sensitivity): codes without their dot; each is compared over its own length, so Z21 covers Z21.0."""

LOINC_ROWS: Final[tuple[tuple[str, str], ...]] = (
    ("5221-7", "HIV"),  # HIV 1 antibody, immunoblot
    ("5292-8", "STD"),  # syphilis, VDRL
    ("7917-8", "HIV"),  # HIV 1 antibody
    ("7918-6", "HIV"),  # HIV 1 and 2 antibody
    ("7919-4", "HIV"),  # HIV 2 antibody
    ("9836-8", "HIV"),  # HIV 1 DNA
    ("20447-9", "HIV"),  # HIV 1 RNA in serum or plasma
    ("20507-0", "STD"),  # syphilis, RPR
    ("21613-5", "STD"),  # Chlamydia trachomatis DNA
    ("22587-0", "STD"),  # Treponema pallidum antibody
    ("24110-9", "STD"),  # Treponema pallidum antibody, immunoassay
    ("24111-7", "STD"),  # Neisseria gonorrhoeae DNA
    ("25835-0", "HIV"),  # HIV 1 RNA in serum or plasma
    ("25836-8", "HIV"),  # HIV 1 RNA
    ("25842-6", "HIV"),  # HIV 2 proviral DNA
    ("29893-5", "HIV"),  # HIV 1 antibody, immunoassay
    ("30361-0", "HIV"),  # HIV 2 antibody, immunoassay
    ("31201-7", "HIV"),  # HIV 1 and 2 antibody, immunoassay
    ("44249-1", "PSY"),  # PHQ-9 panel
    ("44261-6", "PSY"),  # PHQ-9 total score
    ("47403-1", "GDIS"),  # CYP2D6 gene targeted mutation analysis
    ("48345-3", "HIV"),  # HIV 1, O and 2 antibody
    ("48551-2", "HIV"),  # HIV 1 RNA, logarithm
    ("51967-8", "GDIS"),  # genetic disease assessed
    ("53037-8", "GDIS"),  # genetic disease sequence variation interpretation
    ("54447-8", "GDIS"),  # FLT3 gene mutation analysis
    ("55201-8", "GDIS"),  # KIT gene mutation analysis
    ("55233-1", "GDIS"),  # genetic analysis master panel
    ("55757-9", "PSY"),  # PHQ-2 panel
    ("55758-7", "PSY"),  # PHQ-2 total score
    ("56888-1", "HIV"),  # HIV antibody and p24 antigen
    ("59041-4", "GDIS"),  # BRCA1 and BRCA2 gene mutations
    ("62469-2", "HIV"),  # HIV 1 RNA, units
    ("68961-2", "HIV"),  # HIV 1 antibody, rapid
    ("69737-5", "PSY"),  # GAD-7 panel
    ("70274-6", "PSY"),  # GAD-7 total score
    ("72109-2", "ETHUD"),  # AUDIT-C panel
    ("74013-4", "ETHUD"),  # alcoholic drinks a day
    ("75034-9", "GDIS"),  # NPM1 gene mutations
    ("75622-1", "HIV"),  # HIV 1 and 2 tests
    ("75626-2", "ETHUD"),  # AUDIT-C total score
    ("79716-7", "GDIS"),  # CYP2C9 gene product metabolic activity
    ("80387-4", "HIV"),  # HIV 1 and 2 antibody, rapid
    ("80738-8", "GDIS"),  # TPMT gene mutations
)
"""(code, sensitivity)."""

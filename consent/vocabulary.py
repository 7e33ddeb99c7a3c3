"""The codes that a decision compares: purposes of use, sensitivities, confidentiality, obligations. Tables, pure.

Keeps true: the hierarchies are HL7's (a test compares them with HL7's own file), with one addition that is named.
Trusts nothing.
Source: HL7 v3 code systems ActReason, ActCode and Confidentiality, version 2018-08-12, as FHIR R4 carries them (CC0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
"""Code system of purposes of use."""

ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
"""Code system of sensitivities, obligations, refrains and consent directives."""

CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
"""Code system of confidentiality."""

_PURPOSES: Final[Mapping[str, str]] = {
    "PurposeOfUse": "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
    "HOPERAT": "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN "
    "MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN",
    "HSYSADMIN": "LABELING METAMGT",
    "SYSDEV": "HTEST",
    "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV",
    "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
    "HRESCH": "BIORCH CLINTRCH DSRCH POARCH TRANSRCH",
    "CLINTRCH": "CLINTRCHNPC CLINTRCHPC PRECLINTRCH",
    "PATRQT": "FAMRQT PWATRNY SUPNWK",
    "PUBHLTH": "DISASTER THREAT",
    "TREAT": "CLINTRL COC ETREAT POPHLTH",
    "ETREAT": "BTG ERTREAT",
}
"""ActReason: purpose → those just below it."""

_SENSITIVITIES: Final[Mapping[str, str]] = {
    "_InformationSensitivityPolicy": "ADOL CEL DIA DRGIS EMP PDS PHY PRS _ActInformationSensitivityPolicy "
    "_EntitySensitivityPolicyType _RoleInformationSensitivityPolicy",
    "_ActInformationSensitivityPolicy": "ETH GDIS HIV MST SCA SDV SEX SICKLE SPI STD TBOO VIO",
    "SPI": "BH MH PSY PSYTHPN SUD",
    "BH": "COGN DVD EMOTDIS",
    "SUD": "ETHUD OPIOIDUD",
    "_EntitySensitivityPolicyType": "DEMO DOB GENDER LIVARG MARST RACE REL",
    "_RoleInformationSensitivityPolicy": "B EMPL LOCIS SSP",
}
"""ActCode: sensitivity → those just below it."""

_ADDED: Final[Mapping[str, str]] = {"ETH": "SUD"}
"""ETH and SUD both mean substance use, and ActCode files neither under the other. A rule on ETH covers what lies below
SUD too (IHE PCF's own value set lists ETHUD and OPIOIDUD under ETH)."""

_OBLIGATIONS: Final = (
    "ANONY AOD AUDIT AUDTR CPLYCC CPLYCD CPLYJPP CPLYOPP CPLYOSP CPLYPOL DECLASSIFYLABEL DEID DELAU DOWNGRDLABEL "
    "DRIVLABEL ENCRYPT ENCRYPTR ENCRYPTT ENCRYPTU HUAPRV LABEL MASK MINEC PERSISTLABEL PRIVMARK PSEUD REDACT "
    "UPGRDLABEL "
    "NOAUTH NOCOLLECT NODSCLCD NODSCLCDS NOINTEGRATE NOLIST NOMOU NOORGPOL NOPAT NOPERSISTP NORDSCLCD NORDSCLCDS "
    "NORDSCLW NORELINK NOREUSE NOVIP ORCON"
)
OBLIGATIONS: Final = frozenset(_OBLIGATIONS.split())
"""ActCode: what lies below ObligationPolicy and RefrainPolicy."""

LEVELS: Final[Mapping[str, int]] = {code: level for level, code in enumerate("ULMNRV")}
"""Confidentiality → level, lowest first: unrestricted, low, moderate, normal, restricted, very restricted."""

NORMAL: Final = LEVELS["N"]
"""Level of a record that says nothing of its confidentiality and is not sensitive."""

RESTRICTED: Final = LEVELS["R"]
"""Level of a sensitive record that says nothing of its confidentiality."""

TEST_DATA: Final = "HTEST"
"""As a label of data: made for tests; no purpose that the data is bound to."""


def _below(tables: tuple[Mapping[str, str], ...], top: str) -> Iterator[str]:
    """List a code and all that lie below it."""
    yield top
    for table in tables:
        for code in table.get(top, "").split():
            yield from _below(tables, code)


def _closure(*tables: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """List for each code itself and all that lie below it."""
    codes = {code for table in tables for key, row in table.items() for code in (key, *row.split())}
    return {code: frozenset(_below(tables, code)) for code in codes}


PURPOSES: Final = _closure(_PURPOSES)
"""Purpose → it and all that are one (is-a)."""

SENSITIVITIES: Final = _closure(_SENSITIVITIES, _ADDED)
"""Sensitivity → it and all that are one (is-a)."""

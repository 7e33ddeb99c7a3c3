"""What a verdict says of a claim, in Chinese and English: one sentence a code, and how its arguments are written.

Keeps true: every code has a sentence in both languages, of its own arguments alone, and of the names of organisations;
instants name the zone in which they are written, UTC where the reader gives none. A data table. Pure.
Source: `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Final

from medchain.claims.money_words import money_text
from medchain.counted import filled
from medchain.dates import zone_name
from medchain.encoding import Json
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.ledger.evidence.verdict import Finding
from medchain.ledger.invoice import Amount
from medchain.record_types import TYPES, record_text

INSTANTS: Final = frozenset({"entered", "event", "last", "when"})
"""Arguments that are Unix seconds; ``first`` and ``last`` of `source.registered` too."""

MONEY: Final = frozenset({"amount", "open", "total"})
"""Arguments that are amounts in the smallest unit of ``currency``."""

DAYS: Final = frozenset({"day", "end", "first", "last", "start", "until"})
"""Arguments that are days, where they are texts."""

DATE: Final = ("{year}年{month}月{day}日", "{day} {month} {year}")
"""How a day is written."""

MONTHS: Final = (
    ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"),
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
"""Months in it."""

MOMENT: Final = ("{date} {clock} {zone}", "{date}, {clock} {zone}")
"""How an instant is written."""

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "green": ("无异常", "in order"),
    "amber": ("需留意", "look closer"),
    "red": ("有问题", "something is wrong"),
}
"""Colour → its words, so that nothing is told by colour alone."""

LINES: Final[Mapping[str, tuple[str, str]]] = {
    "source": ("来源", "Source"),
    "unaltered": ("未改动", "Unaltered"),
    "complete": ("完整", "Complete"),
    "consent": ("授权", "Consent"),
    "unclaimed": ("未重复理赔", "Not claimed elsewhere"),
    "coverage": ("保障范围与时间", "Coverage and time"),
    "flags": ("警示", "Red flags"),
}
"""Line → its name."""

UNSHOWN: Final = ("未出示时间", "a time that is not shown")
"""What stands in the place of an instant that is not shown."""

SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    "source.registered": (
        "{hospital}的 {count} 份记录已登记于账本，最早 {first}，最晚 {last}。",
        (
            "{count} {count:record|records} of {hospital} {count:is|are} registered on the ledger, the first at "
            "{first}, the last at {last}."
        ),
    ),
    "source.before_joining": (
        "{hospital}的 {count} 份记录所述之事早于其加入联盟：当时何时录入只有医院自己的说法。",
        (
            "{count} {count:record|records} of {hospital} {count:tells|tell} of what was before it joined: when "
            "{count:it was|they were} entered only the hospital says."
        ),
    ),
    "source.late": (
        "{hospital}的{reference} 迟录：事件于 {event}，{days} 天后（{entered}）才录入或登记。",
        (
            "{reference} of {hospital} came late: it is of {event}, and was entered or registered {days} "
            "{days:day|days} later, at {entered}."
        ),
    ),
    "source.unsigned": (
        "{hospital}的{reference} 没有写明由谁、用什么系统录入。",
        "{reference} of {hospital} does not say who wrote it, or with which system.",
    ),
    "source.undated": (
        "没有出示{hospital}的{reference} 何时登记。",
        "It is not shown when {reference} of {hospital} was registered.",
    ),
    "source.taken": (
        "索赔未写地址而引用的 {count} 份记录，按{hospital}的同名记录看待：索赔写明的提供者不是它，或没有写明。",
        (
            "{count} {count:record|records} that the claim cites without an address {count:is|are} taken for "
            "{count:that|those} of {hospital} with the same {count:name|names}: the claim names another provider, or "
            "none."
        ),
    ),
    "source.outside": (
        "{reference} 不属于任何成员，无法核查。",
        "{reference} is of no member: it cannot be checked.",
    ),
    "source.missing": (
        "索赔引用的{reference}（{hospital}）没有出示，或不在账本上。",
        "{reference} of {hospital} is cited and not shown, or not on the ledger.",
    ),
    "source.standing": (
        "{hospital}现已被暂停或除名。",
        "{hospital} is suspended or removed now.",
    ),
    "source.contradicted": (
        "{hospital}对{reference} 的说法与所出示的字段或账本不符。",
        "What {hospital} says of {reference} is not what its fields or the ledger show.",
    ),
    "unaltered.same": (
        "{count} 份记录自登记以来只有一个版本。",
        "{count} {count:record has|records have} had one version since {count:it was|they were} registered.",
    ),
    "unaltered.corrected": (
        "{hospital}的{reference} 在索赔之前更正过，共 {versions} 个版本。",
        "{reference} of {hospital} was corrected before the claim; it has {versions} {versions:version|versions}.",
    ),
    "unaltered.none": ("没有可比对的记录。", "No record is shown that could be compared."),
    "unaltered.altered": (
        "{hospital}的{reference} 在索赔之后被改动（{when}），改动字段：{fields}。",
        "{reference} of {hospital} was altered after the claim, at {when}; fields: {fields}.",
    ),
    "unaltered.deleted": (
        "{hospital}的{reference} 已被删除或声明为误录。",
        "{reference} of {hospital} was deleted, or said to be entered in error.",
    ),
    "unaltered.held": (
        "保险公司手中的{reference}（{hospital}，第 {version} 版）与登记的内容不同。",
        "The insurer's copy of {reference} of {hospital}, version {version}, is not what was registered.",
    ),
    "unaltered.uncompared": (
        "保险公司手中的{reference}（{hospital}，第 {version} 版）无从比对。",
        "The insurer's copy of {reference} of {hospital}, version {version}, cannot be compared with anything shown.",
    ),
    "complete.counts": (
        "{encounters} 次就诊共有 {all} 份记录，出示了 {cited} 份。",
        (
            "There {all:is|are} {all} {all:record|records} of {encounters} {encounters:encounter|encounters}; {cited} "
            "{cited:is|are} shown."
        ),
    ),
    "complete.others": ("未出示的另有：{types}。", "Not shown are: {types}."),
    "complete.total": (
        "索赔金额 {amount} 与医院票据一致。",
        "The claim of {amount} is what the hospital's invoices say.",
    ),
    "complete.part": (
        "索赔金额 {amount}，为医院票据 {total} 的一部分。",
        "{amount} is claimed of the hospital's {total}.",
    ),
    "complete.no_invoice": ("没有出示医院票据的金额。", "No invoice of a hospital with a total is shown."),
    "complete.lines": (
        "{hospital}的{reference} 的各行金额无法相加（未出示、缺少、无法读出，或另有加收、减免、税款）：只比对了总额。",
        (
            "The lines of {reference} of {hospital} cannot be added up: prices are not shown, missing or cannot be "
            "read, or there are surcharges, discounts or taxes; its total alone was compared."
        ),
    ),
    "complete.nothing_cited": ("索赔没有引用任何记录。", "The claim cites no record."),
    "complete.unknown": (
        "索赔没有写明金额，其中有金额无法读出，或医院没有说明就诊共有多少记录。",
        (
            "The claim names no total, an amount of its items cannot be read, or the hospital does not say how many "
            "records there are."
        ),
    ),
    "complete.total_differs": (
        "索赔金额 {amount} 与医院票据 {total} 不符。",
        "{amount} is claimed, and the hospital's invoices say {total}.",
    ),
    "complete.items_differ": (
        "各项之和 {amount} 与总额 {total} 不符。",
        "The items come to {amount}, and the total is {total}.",
    ),
    "consent.in_force": (
        "{hospital}依据有效授权（第 {version} 版，{rule}，{signed}）提供。",
        "{hospital} gave it under a consent in force (version {version}, {rule}, {signed}).",
    ),
    "consent.attested": (
        "{hospital}依据有效的纸质授权（第 {version} 版，{rule}）提供，由两名工作人员证明，不是签名。",
        "{hospital} gave it under a consent on paper (version {version}, {rule}): two staff vouch, no signature.",
    ),
    "consent.mandate": (
        "{hospital}依法律授权（第 {version} 版）提供。",
        "{hospital} gave it under a mandate of the law (version {version}).",
    ),
    "consent.ended": (
        "提供时{hospital}的授权有效，之后已结束或撤回（{when}）。",
        "The permission was in force when {hospital} gave it, and has ended or been withdrawn since, at {when}.",
    ),
    "consent.unshown": (
        "没有出示{hospital}所依据的授权内容。",
        "What the permission says under which {hospital} gave it is not shown.",
    ),
    "consent.none": (
        "没有出示给这家保险公司的、医院（{hospital}）据以提供记录的授权。",
        "No permission for this insurer is shown under which a hospital gave records ({hospital}).",
    ),
    "consent.beyond": (
        "授权不包括{hospital}的{reference}。",
        "{reference} of {hospital} is not among what the permission covers.",
    ),
    "consent.not_in_force": (
        "{hospital}提供时授权已停止、已到期或尚未生效（{when}）。",
        "When {hospital} gave the records the permission was stopped, over or not begun, at {when}.",
    ),
    "consent.other_claim": (
        "患者的授权是为另一笔索赔给{hospital}的。",
        "The patient's consent to {hospital} is for another claim.",
    ),
    "unclaimed.absent": (
        "成员中没有人就{hospital}的这张票据理赔。",
        "Of this invoice of {hospital} nothing is claimed among the members.",
    ),
    "unclaimed.own": (
        "这家保险公司已为本索赔预留或支付 {amount}（{hospital}的票据）。",
        "This insurer has {amount} of this invoice of {hospital} for this claim.",
    ),
    "unclaimed.own_before": (
        "在第 {version} 版（现为第 {newest} 版）这家保险公司为本索赔持有 {amount}（{hospital}的票据）；之后又有变动。",
        "At version {version} of {newest} this insurer had {amount} of the invoice of {hospital}; more came since.",
    ),
    "unclaimed.enough": (
        "{hospital}的这张票据已有其他机构理赔一部分，余额 {open} 足够。",
        "Others have parts of this invoice of {hospital}; {open} is left, which is enough.",
    ),
    "unclaimed.apart": (
        "{hospital}的这张票据已以另一种方式被理赔：整张票据与其中各行不能都理赔。",
        "This invoice of {hospital} is claimed otherwise: by its lines, or as a whole where a line was asked for.",
    ),
    "unclaimed.claimed": (
        "{hospital}的这张票据已被理赔。",
        "This invoice of {hospital} is claimed already.",
    ),
    "unclaimed.refunded": (
        "{hospital}已退还部分费用，这张票据现为 {total}，少于各机构的份额之和；本公司的份额为 {amount}。",
        (
            "{hospital} refunded a part: this invoice now comes to {total}, less than insurers have of it together. "
            "This insurer has {amount}."
        ),
    ),
    "unclaimed.reversed": (
        "{hospital}已将这张票据冲红作废。",
        "{hospital} has taken this invoice back.",
    ),
    "unclaimed.missing": (
        "没有出示{hospital}的这张票据的理赔状态。",
        "What is claimed of this invoice of {hospital} is not shown.",
    ),
    "unclaimed.other_invoice": (
        "{hospital}出示的{reference} 与所查询的票据不是同一张。",
        "The invoice {reference} that {hospital} shows is another than the one that was asked for.",
    ),
    "unclaimed.unknown": (
        "{hospital}没有这张票据，或校验码有误。",
        "{hospital} has no such invoice, or its check code is another one.",
    ),
    "unclaimed.line": (
        "只查询了{hospital}票据的一行：整张票据是否已理赔未出示。",
        "Only a line of an invoice of {hospital} was asked for: what is claimed of the whole is not shown.",
    ),
    "unclaimed.unshown": (
        "{hospital}的{reference} 未出示号码、日期或状态：无法确认它就是所查询的那张。",
        "Number, date or status of {hospital}'s invoice {reference} are hidden: it may be another than was asked for.",
    ),
    "unclaimed.outside": (
        "票据不是成员开具的，无法核查是否已理赔。",
        "The invoice is of no member: whether it is claimed cannot be checked.",
    ),
    "unclaimed.inactive": (
        "开票单位已被暂停或退出，无法核查是否已理赔。",
        "Who issued the invoice is suspended or gone: whether it is claimed cannot be checked.",
    ),
    "unclaimed.unreachable": (
        "医院未答复，尚未核查是否已理赔。",
        "The hospital did not answer: whether the invoice is claimed was not checked.",
    ),
    "unclaimed.stopped": (
        "医院当日停止答复，尚未核查是否已理赔。",
        "The hospital answered no more that day: whether the invoice is claimed was not checked.",
    ),
    "unclaimed.refused": (
        "医院拒绝答复，或其答复有误。",
        "The hospital refused to answer, or its answer did not hold.",
    ),
    "unclaimed.no_copy": ("没有票据可供核查。", "There is no copy of an invoice to ask for."),
    "coverage.covered": (
        "服务日期 {first} 至 {last} 在保障期内，且已过等待期。",
        "The services of {first} to {last} are within the policy, after its waiting days.",
    ),
    "coverage.unknown": (
        "没有写明保障期或服务日期，或未出示医院当时的状态。",
        "The policy or the days of the services are not told, or the hospital's standing of then is not shown.",
    ),
    "coverage.before": (
        "服务日期 {day} 早于保障起始日 {start}。",
        "A service of {day} was before the policy began, {start}.",
    ),
    "coverage.after": (
        "服务日期 {day} 晚于保障终止日 {end}。",
        "A service of {day} was after the policy ended, {end}.",
    ),
    "coverage.waiting": (
        "服务日期 {day} 在等待期内（至 {until} 前）。",
        "A service of {day} was within the waiting days, which end before {until}.",
    ),
    "coverage.standing": (
        "{day} 当天{hospital}不是有效成员。",
        "{hospital} was no active member on {day}.",
    ),
    "flags.none": ("没有其他警示。", "Nothing else is conspicuous."),
    "flags.overlap": (
        "{hospital}另有 {count} 次住院与这些日期重叠。",
        "{count} other {count:stay|stays} at {hospital} {count:overlaps|overlap} these days.",
    ),
    "flags.after_discharge": (
        "{hospital}的{reference} 发生在出院一天以后。",
        "{reference} of {hospital} happened more than a day after the discharge.",
    ),
    "flags.emergency": (
        "索赔之前不久，{hospital}有 {count} 次未经授权的急诊调阅，最近一次 {last}。",
        (
            "{hospital} has {count} emergency {count:access|accesses} without consent of shortly before the claim, the "
            "last at {last}."
        ),
    ),
    "flags.inactive": (
        "索赔自身注明已取消、误录或仅为草稿。",
        "The claim itself says that it is cancelled, was entered in error, or is a draft.",
    ),
    "flags.clock": (
        "{hospital}的{reference} 所写时间晚于登记时间一天以上：时钟有误或事后补写。",
        "{reference} of {hospital} names a time more than a day after it was registered: a wrong clock, or worse.",
    ),
    "flags.unknown": (
        "{hospital}没有就这些日期说明：{names}。",
        "{hospital} does not say of these days: {names}.",
    ),
    "flags.after_death": (
        "患者在 {day} 已去世。",
        "The patient was dead on {day}.",
    ),
    "flags.altered": (
        "{count} 份记录在索赔之后被改动。",
        "{count} {count:record was|records were} altered after the claim.",
    ),
    "flags.credential": (
        "{hospital}的{reference} 由当时没有有效资质的人员书写。",
        "{reference} of {hospital} was written by somebody whose credential was not valid.",
    ),
    "flags.other_amount": (
        "保险公司手中的票据金额与{hospital}的不同。",
        "The insurer's copy of the invoice has another amount than that of {hospital}.",
    ),
}
"""Code → sentence, with its arguments in braces."""

OF_NOBODY: Final[Mapping[str, tuple[str, str]]] = {
    "consent.none": (
        "没有医院依据给这家保险公司的授权提供记录。",
        "No hospital has given any record under a permission for this insurer.",
    ),
    "flags.unknown": ("没有医院说明：{names}。", "Of these no hospital says anything: {names}."),
}
"""The same where no hospital discloses anything."""

BETWEEN: Final = ("、", ", ")
"""What stands between the words of a list."""

VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "after_discharge": ("出院后是否仍有诊疗", "whether something was done after the discharge"),
    "alive_on": ("患者是否在世", "whether the patient lived"),
    "delegate": ("由代理人签署，由背书成员核验", "signed by a delegate, which the endorsing members checked"),
    "emergency_accesses": ("急诊调阅", "emergency accesses"),
    "general": ("一般授权", "a general one"),
    "one-claim": ("仅限本次索赔", "for this claim alone"),
    "overlapping_stays": ("住院重叠", "overlapping stays"),
    "passkey": (
        "患者本人通行密钥签署，由背书成员核验",
        "signed with the patient's passkey, which the endorsing members checked",
    ),
    "unshown": ("未出示签署方式", "how it was signed is not shown"),
}
"""Words for arguments that are names of ours."""

COUNTED_TYPE: Final = ("{name} {count} 份", "{name} {count}")
"""How many records of a type there are, in a list."""

HOSPITAL: Final = "hospital"
"""Argument that names an organisation."""

REFERENCE: Final = "reference"
"""Argument that names a record, ``Type/id`` or an address."""

LISTS: Final = frozenset({"names", "rule", "signed", "types"})
"""Arguments that are names, or a list of them."""

LANGUAGES: Final = ("zh", "en")
"""In the order in which words stand everywhere here."""

_DAY: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})")
_COUNTED: Final = re.compile(r"([A-Za-z]+) ([0-9]+)")


def sentence(finding: Finding, language: str, name: Callable[[str], str] = str, zone: tzinfo = UTC) -> str:
    """Write a finding as one sentence.

    Args:
        finding: of a verdict.
        language: ``zh``; anything else is English.
        name: names an organisation by its org_id.
        zone: in which instants are written.

    Returns:
        The sentence.
    """
    place = 0 if language == "zh" else 1
    arguments = {one: _written(finding, one, place, zone) for one in finding.arguments}
    of_nobody = finding.arguments.get(HOSPITAL) == NOBODY
    if HOSPITAL in arguments and not of_nobody:
        arguments[HOSPITAL] = name(str(arguments[HOSPITAL]))
    said = OF_NOBODY.get(finding.code) if of_nobody else None
    return filled((said or SENTENCES[finding.code])[place], arguments)


def names_in(names: Mapping[str, Mapping[str, Json]], language: str) -> Callable[[str], str]:
    """Name organisations in a language, in another where they have no name in it, else by their org_id.

    Args:
        names: org_id → language → name, as a bundle has them.
        language: ``zh`` or ``en``.

    Returns:
        org_id → name.
    """

    def named(org_id: str) -> str:
        own = names.get(org_id, {})
        return str(own.get(language) or next(iter(own.values()), org_id))

    return named


def instant_text(seconds: int, language: str, zone: tzinfo = UTC) -> str:
    """Write an instant in a zone, to the minute; a time beyond what a calendar has as its number."""
    place = 0 if language == "zh" else 1
    try:
        at = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    return MOMENT[place].format(date=_day(at.year, at.month, at.day, place), clock=f"{at:%H:%M}", zone=zone_name(at))


def _day(year: int, month: int, day: int, place: int) -> str:
    """Write a date."""
    return DATE[place].format(year=year, month=MONTHS[place][month - 1], day=day)


def _dated(text: str, place: int) -> str:
    """Write a date that is given as text; what is none stays as it is."""
    found = _DAY.fullmatch(text)
    return text if found is None else _day(int(found[1]), int(found[2]), int(found[3]), place)


def _written(finding: Finding, name: str, place: int, zone: tzinfo) -> str | int:
    """Write one argument; what only counts stays a number, which chooses words."""
    value = finding.arguments[name]
    is_instant = name in INSTANTS or (name == "first" and finding.code == "source.registered")
    if isinstance(value, int) and is_instant:
        return instant_text(value, LANGUAGES[place], zone) if value else UNSHOWN[place]
    if isinstance(value, int) and name in MONEY:
        return money_text(Amount(value, str(finding.arguments.get("currency", ""))), LANGUAGES[place])
    if name in LISTS:
        return BETWEEN[place].join(_word(one, place) for one in str(value).split(", "))
    if name in DAYS and isinstance(value, str):
        return _dated(value, place)
    if name == REFERENCE:
        return record_text(str(value), LANGUAGES[place])
    return value


def _word(name: str, place: int) -> str:
    """Word a name of ours, or how many records of a type there are."""
    counted = _COUNTED.fullmatch(name)
    if counted is None:
        return VALUES.get(name, (name, name))[place]
    kind = TYPES.get(counted[1], counted[1]) if place == 0 else counted[1]
    return COUNTED_TYPE[place].format(name=kind, count=counted[2])

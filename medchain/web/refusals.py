"""Why a signature, a change of a subject, a delegation or a recovery is refused, for pages and the command line.

Keeps true: each code of the subject's, recovery's and consent's checks that a person can cause has a text in Chinese
and English, without fields, since the way from the daemon keeps the code alone. Trusts nothing. Long for being a table.
Source: `docs/spec/subject.md`, `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WHO: Final[Mapping[str, tuple[str, str]]] = {
    "dead": (
        "此人已登记为去世，其通行密钥不再有效，也不能再作出新的许可。",
        "The death of this person is on record: its passkeys count no more, and nothing new is permitted.",
    ),
    "incapable": (
        "此人已登记为无法自行决定。其通行密钥只能收窄许可；放宽须由监护人或代理人签署。",
        "This person is on record as unable to decide: its passkeys narrow only, a guardian or proxy permits.",
    ),
    "minor": (
        "此人未成年。其通行密钥只能收窄许可；放宽须由监护人签署。",
        "This person is under age: its passkeys only narrow; a guardian signs what permits.",
    ),
    "delegate": (
        "签署人不是有效的受托人，或超出了其权限：可能已到期、已移交，或不包括此类数据。",
        "The signer is no delegate in force, or goes beyond its limits: its time is over, or these data are not its.",
    ),
    "guardians": (
        "监护人之间存在争议：放宽许可须由全体监护人签署；任何一位监护人都可以收窄。",
        "The guardians disagree: all of them must sign what permits; each of them may narrow.",
    ),
    "subject": (
        "此人的登记不在本机构，或已不再有效。",
        "This person's subject is not held here, or is not in force.",
    ),
    "stale": (
        "签署已过期，请重新签署。",
        "The signature is too old; sign again.",
    ),
    "attested": (
        "须由两名不同的工作人员见证。",
        "Two different members of staff must attest it, and nobody where it is not asked for.",
    ),
    "party": (
        "独立背书方与当事机构有利害关系。",
        "The independent endorser is a party, or under one's control.",
    ),
    "organisation": (
        "所列机构中有的不是有效成员。",
        "An organisation that is named is no active member.",
    ),
    "role": ("本机构并不担任所称的角色。", "This organisation does not hold the role in which it was asked."),
    "not_full": ("独立背书方须看到全部内容。", "The independent endorser must see the whole body."),
    "time": ("所称的时间在将来。", "An event is said to lie in the future."),
}

_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "subject.changed": (
        "此操作改动了不属于它的内容，或没有改动应改动的内容。",
        "The operation changes what is not its own, or does not change what it should.",
    ),
    "subject.contacts": ("联系方式有误。", "The contacts are not right."),
    "subject.custodian": (
        "本机构不是此人的保管方；请先由本人在登记机构关联本机构。",
        "This organisation is no custodian of this person; the person links it first, where it was enrolled.",
    ),
    "delegation.ending": ("签署的不是这一委托的结束。", "What was signed is not the end of this delegation."),
    "delegation.enroller": ("委托只能由登记机构建立。", "The enroller alone makes a delegation."),
    "delegation.evidence": (
        "委托本身不附签名：签名在登记中。",
        "A delegation bears no signature itself; that stands under the subject.",
    ),
    "delegation.last_day": ("委托的有效期有误。", "The last day of the delegation is not right."),
    "delegation.who": (
        "委托须指明协助人或代理人，且不能是本人。",
        "A delegation is a helper's or a proxy's, and never of the person itself.",
    ),
    "delegation.stop": ("停止原像与账本不符。", "The stop hash is not that of the body."),
    "delegation.unknown": ("本机构没有这一委托。", "This delegation is not here."),
    "subject.delegation": (
        "登记中的委托不存在、已结束，或属于他人。",
        "The delegation that the subject names is not there, has ended, or is another's.",
    ),
    "subject.delegates": (
        "受托人有误：不能是本人，登记时只能是未成年人的监护人，不得重复。",
        "The delegates are not right: none is the person itself, enrolment names guardians of minors only, none twice.",
    ),
    "subject.elsewhere": (
        "此人在另一机构登记，须由该机构更改。",
        "Another organisation enrolled this person; it makes the change.",
    ),
    "subject.enroller": (
        "只有登记机构才能更改，且登记机构不可变更。",
        "The enroller alone changes a subject, and stays.",
    ),
    "subject.guardian": (
        "监护人只能为未成年人或无法自行决定的人设立，且只能自行退出或经恢复程序更换。",
        "Guardians are for minors and those who cannot decide; they resign themselves or are replaced by a recovery.",
    ),
    "subject.joining": ("签署的不是这一关联。", "What was signed is not this joining."),
    "subject.of_age": ("成年日期不在允许范围内。", "The day of majority is not within the bounds."),
    "subject.operation": ("没有这样的操作。", "There is no such operation here."),
    "subject.passkeys": (
        "未成年人没有监护人时，至少须有一个通行密钥。",
        "A minor without a guardian has at least one passkey.",
    ),
    "subject.recovery": (
        "恢复程序已作废，或与所作的更改不符：此人的登记已有变动，或恢复已被取消。",
        "The recovery is void or not this one: the subject has changed since, or it was cancelled.",
    ),
    "subject.signers": ("签署人不是此操作所要求的人。", "The signers are not those whom this operation needs."),
    "subject.unknown": ("本机构没有此人的登记。", "This person's subject is not here."),
    "subject.unsigned": (
        "须由现有的通行密钥签署。",
        "An existing passkey must sign it, and nobody where none is asked for.",
    ),
    "subject.verified_by": ("核验身份的机构与登记机构不符。", "Who checked the identity is not the enroller."),
    "subject.waiting": (
        "等待期未满，尚不能执行；在此期间，任何现有通行密钥都可以取消。",
        "The waiting time is not over; until then any existing passkey can cancel it.",
    ),
    "recovery.cancellation": ("签署的不是这一取消。", "What was signed is not this cancellation."),
    "recovery.changed": (
        "能自行决定的成年人没有监护人，本人也不能作自己的监护人。",
        "Who is of age and can decide has no guardian, and nobody is its own.",
    ),
    "recovery.holder": (
        "本机构只持有此人登记的一部分，不能发起恢复。",
        "This organisation holds a part of the subject only, and cannot announce a recovery.",
    ),
    "recovery.last_day": ("恢复的有效期有误。", "The last day of the recovery is not right."),
    "recovery.operation": (
        "恢复须且只须包含一项更改：新的通行密钥，或监护人。",
        "A recovery is one change: other passkeys, or guardians.",
    ),
    "recovery.second": (
        "恢复须由登记机构以外、不受同一控制的另一机构发起。",
        "Another organisation than the enroller, under other control, announces a recovery.",
    ),
    "recovery.stop": ("停止原像与账本不符。", "The stop hash is not that of the body."),
    "recovery.unknown": ("本机构没有这一恢复。", "This recovery is not here."),
    "recovery.verified_by": ("核验身份的机构不是发起机构。", "Who checked the identity is not who announces it."),
    "recovery.wait": (
        "等待期短于联盟政策的规定，或政策不允许恢复。",
        "It waits for less than the policy says, or the policy knows no recoveries.",
    ),
    "signing.count": ("签名数与签署人数不符。", "There are more or fewer signatures than signers."),
    "signing.credential": (
        "这个通行密钥不属于签署人。",
        "This passkey is none of the signer's.",
    ),
    "stop.evidence": ("签署的内容不适用于此对象。", "What was signed does not apply to this object."),
    "draft.assertions": ("尚有人未签署。", "Not all have signed, or too many."),
    "draft.malformed": ("草稿有误，请重新开始。", "The draft is not right; begin again."),
    "notice.unknown": ("没有这一通知。", "There is no such notice."),
    "consent.joined": ("共同签署人有误。", "Those who sign together are not right."),
}

_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "consent": frozenset(_WHO),
    "delegation": frozenset(_WHO) - {"attested", "guardians", "stale", "time"},
    "recovery": frozenset(_WHO) - {"incapable", "minor", "guardians", "stale"},
    "subject": frozenset(_WHO),
}

REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    **_OWN,
    **{f"{kind}.{name}": _WHO[name] for kind, names in _KINDS.items() for name in sorted(names)},
}
"""Code → text in Chinese and in English."""

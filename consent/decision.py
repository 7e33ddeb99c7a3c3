"""The decision: may this be read, by whom, for what, at that moment, under these consents? Pure, and all in this file.

How it goes. `compile_consent` reads a FHIR R4 Consent once a version into a tree of rules. `decide` tries on each rule
what does not depend on the record (its *context*: period, actor, purpose, action) and keeps what is left. `judge` tries
the rest (*data*: labels, class, code, dates, named records) on one record. So a search's answer is decided once and
filtered record by record.

Keeps true:
- A test answers no, perhaps or yes; perhaps is what nobody can tell: a date that is missing, a code without system, an
  identifier in the place of a reference. From there on all outcomes that are possible are kept, and only what is
  permitted whatever the truth may be is permitted. So doubt never opens anything, neither in a permit nor in a deny.
- The deepest rule that matches wins over its parent; among siblings and among consents a deny wins. No order matters.
- What a consent that applies does not permit is denied; only where none applies, the ledger's policy speaks.
- A consent that cannot be read, or is larger than the bounds below, denies all.
Trusts the caller for the consents being those that the ledger holds, for the time, and for who asks.
Source: `docs/spec/consent.md`, D1 to D20, which the docstrings below name; FHIR R4 Consent; IHE PCF 1.1.
Longer than other files on purpose: who wants to know what is permitted reads one file and a table of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

import orjson

from consent.vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY,
    LEVELS,
    NORMAL,
    OBLIGATIONS,
    PURPOSES,
    RESTRICTED,
    SENSITIVITIES,
    TEST_DATA,
)
from medchain.dates import BEGINNING, END, Span, span_of
from medchain.encoding import digest
from medchain.errors import InputError

MAX_DEPTH: Final = 100
"""Deepest provision that is read, the root being 1."""

MAX_RULES: Final = 5_000
"""Most provisions of one consent."""

MAX_ENTRIES: Final = 5_000
"""Most entries of one array of a provision."""

BREAK_GLASS_GROUP: Final = "Group/privileged"
"""Whose members may declare that they break the glass."""

PCF_POLICY: Final = "https://profiles.ihe.net/ITI/PCF/"
"""What the canonical addresses of IHE PCF's policies begin with."""

Match: TypeAlias = int
"""What a test answers: `NO`, `PERHAPS` or `YES`; the least of several is that all hold."""

NO: Final = 0
PERHAPS: Final = 1
YES: Final = 2

Outcomes: TypeAlias = int
"""Which outcomes are possible: a sum of `PERMIT`, `DENY` and `SILENT`."""

PERMIT: Final = 1
DENY: Final = 2
SILENT: Final = 4


def _joined(one: Outcomes, other: Outcomes) -> Outcomes:
    """Join what two rules or consents say beside each other: a deny wins over a permit, that over silence."""
    deny = DENY if (one | other) & DENY else 0
    permit = PERMIT if (one & PERMIT and other & ~DENY) or (other & PERMIT and one & ~DENY) else 0
    return deny | permit | (SILENT if one & other & SILENT else 0)


_JOIN: Final = [[_joined(one, other) for other in range(8)] for one in range(8)]


class Policy(StrEnum):
    """What holds where no consent applies: IHE PCF's four policies (PCF 1:53.2.1)."""

    DENY = "Policy-deny"
    BASIC_NORMAL = "Policy-basic-normal"
    ALL_NORMAL = "Policy-all-normal"
    BREAK_GLASS_ONLY = "Policy-break-glass-only"


class Reason(StrEnum):
    """Why something is denied."""

    DENIED = "consent.denied"
    """A rule of a consent denies it."""

    NOT_PERMITTED = "consent.not_permitted"
    """Consents apply, and no rule permits it for certain."""

    NONE = "consent.none"
    """No consent applies, and the policy does not permit it."""

    UNREADABLE = "consent.unreadable"
    """A consent cannot be read, or is too large."""

    PATIENT = "consent.patient"
    """The record is another patient's, or nobody can tell whose it is."""

    PURPOSE = "consent.purpose"
    """The record's labels bind it to other purposes."""

    CLAIM = "consent.claim"
    """The consent is for one claim, and it is not asked for that one (`docs/spec/consent.md` D21)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, for what, and when. None is "not known", which never helps.

    Attributes:
        now: microseconds since 1970 in UTC, as the ledger tells the time.
        patient: reference of whose records these are.
        actor: reference of the person or device.
        organization: reference of the organisation for which it acts; empty for none.
        groups: references of groups and care teams to which it belongs.
        role: code of its role, or reference of a PractitionerRole.
        purpose: code of the purpose of use.
        purpose_system: the purpose's code system; None where codes alone are compared.
        action: code of the action (HL7 consentaction).
        custodian: reference of the organisation that holds the records; empty for none that rules may mean.
        aliases: further references of the organisation for which it acts.
        unsure: types of actors of which it may be one as well, nobody knows which.
        names: what actors of rules are compared with; computed.
        ends: type and id of each of them; computed.
        purpose_key: the purpose as rules hold it; computed.
        unknown: types of actors of whom nobody can tell whether they ask; computed.
    """

    now: int
    patient: str
    actor: str | None = None
    organization: str | None = None
    groups: frozenset[str] | None = frozenset()
    role: str | None = None
    purpose: str | None = None
    purpose_system: str | None = None
    action: str | None = None
    custodian: str | None = None
    aliases: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    names: frozenset[str] = field(init=False)
    ends: frozenset[str] = field(init=False)
    purpose_key: str | None = field(init=False)
    unknown: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Compute what all rules need."""
        named = [self.actor, self.organization, self.role, *(self.groups or ()), *self.aliases]
        names = frozenset(unversioned(name) for name in named if name)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "ends", frozenset(map(_end_of, names)))
        key = None if self.purpose is None else _coded(self.purpose_system, self.purpose, ACT_REASON, PURPOSES)
        object.__setattr__(self, "purpose_key", key)
        unknown = self.unsure | (_PEOPLE if self.actor is None else frozenset[str]())
        unknown |= _BODIES if self.organization is None else unknown
        unknown |= _TEAMS if self.groups is None else unknown
        object.__setattr__(self, "unknown", unknown)


_BODIES: Final = frozenset({"Organization"})
_TEAMS: Final = frozenset({"CareTeam", "Group"})
_PEOPLE: Final = frozenset({"Device", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson"})


@dataclass(frozen=True, slots=True)
class Resource:
    """What rules ask of one record. None is "not known"; an empty set is "there is none".

    Attributes:
        reference: its own, ``Type/id``.
        type: its FHIR type.
        patient: reference of whose it is.
        codes: its codings, as `coding_key` writes them.
        labels: codes of its security labels.
        authors: references of its authors.
        span: when what it tells of happened.
        related: references to other records in it, its encounter among them.
        level: its confidentiality, by `consent.vocabulary.LEVELS`; computed, None where the labels are not known.
        purposes: purposes that its labels bind it to; computed.
    """

    reference: str | None
    type: str | None
    patient: str | None
    codes: frozenset[str] | None = frozenset()
    labels: frozenset[str] | None = frozenset()
    authors: frozenset[str] | None = frozenset()
    span: Span | None = None
    related: frozenset[str] = frozenset()
    level: int | None = field(init=False)
    purposes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Compute level and purposes (D9, D14)."""
        labels = self.labels or frozenset()
        level = max((LEVELS[label] for label in labels if label in LEVELS), default=None)
        if level is None and self.labels is not None:
            # Who labels something sensitive means more than normal; so does a code that we do not know.
            plain = labels <= OBLIGATIONS | PURPOSES.keys()
            level = NORMAL if plain else RESTRICTED
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "purposes", (labels & PURPOSES.keys()) - {TEST_DATA})


Asked = TypeVar("Asked", Request, Resource)
Context: TypeAlias = Callable[[Request], Match]
Data: TypeAlias = Callable[[Resource], Match]


@dataclass(frozen=True, slots=True)
class Rule:
    """A provision, compiled.

    Attributes:
        path: where it stands, such as ``provision.provision[0]``.
        effect: what it says where it matches and no rule below does: `PERMIT`, `DENY`, or `SILENT` for none.
        context: tests of the request; None where there are none.
        data: tests of the record; None where there are none.
        terms: the data tests as they are written in the consent, for tokens; None where tokens cannot say them.
        children: the provisions inside.
        is_root: whether it is the consent's own: if that permits, its data tests do not bound the rules below it.
        has_actor: whether it says who it is about.
        whole: its node, where neither it nor a rule below it asks who asks; computed.
    """

    path: str
    effect: Outcomes
    context: Context | None = None
    data: Data | None = None
    terms: Mapping[str, object] | None = field(default_factory=dict)
    children: tuple[Rule, ...] = ()
    is_root: bool = False
    has_actor: bool = False
    whole: Node | None = field(init=False, default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the node once where every request has the same."""
        nodes = [child.whole for child in self.children if child.whole is not None]
        if self.context is None and len(nodes) == len(self.children):
            object.__setattr__(self, "whole", Node(self, is_certain=True, children=tuple(nodes)))


@dataclass(frozen=True, slots=True)
class Directive:
    """A version of a consent, compiled; share it among decisions.

    Attributes:
        id: the consent's.
        version: which of its versions.
        digest: of the consent as it was read, 32 bytes.
        root: its rules.
        period: when it applies; None where nobody can tell.
        is_active: whether it applies at all.
        patient: reference of the patient; None where it has none.
        any_patient: whether the ledger says whose it is, and the reference does not matter.
        base: what holds where the root does not match; None where nothing is said.
        is_readable: whether it could be read.
    """

    id: str
    version: str
    digest: bytes
    root: Rule
    period: Span | None
    is_active: bool = True
    patient: str | None = None
    any_patient: bool = False
    base: Rule | None = None
    is_readable: bool = True

    def applies(self, request: Request) -> Match:
        """Tell whether it applies: active, of this patient, inside its period (D2)."""
        if not self.is_active:
            return NO
        same = YES if self.any_patient else _same(self.patient, request.patient)
        if same == NO or self.period is None:
            return min(same, PERHAPS)
        return same if self.period.low <= request.now < self.period.high else NO


@dataclass(frozen=True, slots=True)
class History:
    """All versions of a consent.

    Attributes:
        versions: (when the ledger recorded it, the version), oldest first.
    """

    versions: tuple[tuple[int, Directive], ...]

    def at(self, now: int) -> Directive | None:
        """Return the version that was in force at a moment; None if there was none yet (D3)."""
        return next((version for recorded, version in reversed(self.versions) if recorded <= now), None)


@dataclass(slots=True, eq=False)
class Node:
    """A rule whose context matches, and those of the rules below it.

    Made by the dozen for each request: not frozen, which takes three times as long, and never changed.

    Attributes:
        rule: the rule.
        is_certain: whether the context matches for certain.
        children: nodes of the rules below it.
        data: the rule's tests of the record.
        opens: whether its data tests do not bound the rules below it: the root of a consent that permits.
        any_record: what it may say of whatever record.
        has_data: whether the record matters.
    """

    rule: Rule
    is_certain: bool
    children: tuple[Node, ...]
    data: Data | None = field(init=False)
    opens: bool = field(init=False)
    any_record: Outcomes = field(init=False)
    has_data: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out what holds for whatever record."""
        rule = self.rule
        self.data = data = rule.data
        self.opens = rule.is_root and rule.effect == PERMIT
        below, has_data = SILENT, data is not None
        for child in self.children:
            below = _JOIN[below][child.any_record]
            has_data = has_data or child.has_data
        self.has_data = has_data
        self.any_record = _said(self, YES if data is None else PERHAPS, below)


@dataclass(slots=True, eq=False)
class Applying:
    """A consent that applies, with what is left of its rules. As `Node`, never changed.

    Attributes:
        directive: the consent.
        is_certain: whether it applies for certain.
        root: what is left of its rules.
        base: what is left of its base policy.
    """

    directive: Directive
    is_certain: bool
    root: Node | None
    base: Node | None

    def possible(self, resource: Resource | None) -> Outcomes:
        """Tell what it may say of a record; of whatever record, without one."""
        found = SILENT if self.root is None else _possible(self.root, resource)
        if found & SILENT and self.base is not None:
            found = found & ~SILENT | _possible(self.base, resource)
        return found if self.is_certain else found | SILENT

    @property
    def has_data(self) -> bool:
        """Whether what it says depends on the record."""
        return (self.root is not None and self.root.has_data) or (self.base is not None and self.base.has_data)


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision was made from, as far as records still need it.

    Attributes:
        request: who asked.
        applying: consents that apply; empty for the policy alone.
        policy: the policy, where no consent applies.
        directives: all consents that were looked at.
    """

    request: Request
    applying: list[Applying]
    policy: Directive
    directives: Sequence[Directive]

    @property
    def speaking(self) -> list[Applying]:
        """Those that decide: the consents, or else the policy."""
        return self.applying or [_standing(self.policy, self.request, YES)]

    def possible(self, resource: Resource | None) -> Outcomes:
        """Tell what all of them together may say of a record."""
        return _together([one.possible(resource) for one in self.speaking])


@dataclass(frozen=True, slots=True)
class Permit:
    """It may be read.

    Attributes:
        basis: id of the consent that decides; ``implicit`` for the policy.
        version: its version; the policy's name.
        path: the rule that decides.
        obligations: what whoever reads must do and must not, sorted.
        case: for `judge`, and for `consent.receipt`.
    """

    basis: str
    version: str
    path: str
    obligations: tuple[str, ...]
    case: Case


@dataclass(frozen=True, slots=True)
class Filter:
    """Some records may be read: ask `judge` or `passes` for each.

    Attributes:
        case: for `judge` and `passes`, and for `consent.receipt`.
    """

    case: Case


@dataclass(frozen=True, slots=True)
class Deny:
    """It must not be read.

    Attributes:
        basis: id of the consent that decides; ``implicit`` for the policy.
        version: its version; the policy's name.
        path: the rule that decides.
        reason: why.
        case: for `consent.receipt`.
    """

    basis: str
    version: str
    path: str
    reason: Reason
    case: Case


Decision: TypeAlias = Permit | Filter | Deny
"""What `decide` answers."""

IMPLICIT: Final = "implicit"
"""Basis of what the policy decides."""


# Deciding


def decide(request: Request, directives: Sequence[Directive], policy: Policy = Policy.DENY) -> Decision:
    """Decide a request for all records that it may be about.

    Args:
        request: who asks, for what, when.
        directives: consents of the patient, each in the version that is in force; their order does not matter.
        policy: what holds where none of them applies.

    Returns:
        `Permit` and `Deny` hold for every record of this patient; a `Filter` depends on the record.
    """
    applying = []
    for directive in directives:
        match = directive.applies(request)
        if match:
            applying.append(_standing(directive, request, match))
    case = Case(request, applying, _POLICIES[policy], directives)
    speaking = case.speaking
    said = [one.possible(None) for one in speaking]
    possible = _together(said)
    if possible != PERMIT and possible & PERMIT and any(one.has_data for one in speaking):
        return Filter(case)
    return _settled(case, None, speaking, said)


def judge(decision: Decision, resource: Resource) -> Permit | Deny:
    """Decide about one record.

    Args:
        decision: from `decide`.
        resource: the record.

    Returns:
        The decision, with the rule that decides of this record.
    """
    if isinstance(decision, Deny):
        return decision
    case = decision.case
    speaking = case.speaking
    found = _settled(case, resource, speaking, [one.possible(resource) for one in speaking])
    foreign = _foreign(case.request, resource) if isinstance(found, Permit) else None
    return found if foreign is None else Deny(found.basis, found.version, found.path, foreign, case)


def passes(decision: Decision, resource: Resource) -> bool:
    """Tell whether `judge` permits a record; faster, since no rule is named."""
    if isinstance(decision, Deny):
        return False
    case = decision.case
    return case.possible(resource) == PERMIT and _foreign(case.request, resource) is None


def _foreign(request: Request, resource: Resource) -> Reason | None:
    """Tell why a record is outside every permission: another patient's, or bound to other purposes (D14)."""
    patient = resource.reference if resource.type == "Patient" and resource.patient is None else resource.patient
    if _same(patient, request.patient) != YES:
        return Reason.PATIENT
    if resource.purposes and not any(request.purpose_key in PURPOSES[purpose] for purpose in resource.purposes):
        return Reason.PURPOSE
    return None


def _standing(directive: Directive, request: Request, match: Match) -> Applying:
    """Keep of a consent's rules what the request leaves."""
    root, base = directive.root, directive.base
    left = None if base is None else base.whole or _left(base, request)
    return Applying(directive, match == YES, root.whole or _left(root, request), left)


def _left(rule: Rule, request: Request) -> Node | None:
    """Drop the rules whose context does not match."""
    context = rule.context
    match = YES if context is None else context(request)
    if match == NO:
        return None
    children = []
    for child in rule.children:
        node = child.whole or _left(child, request)
        if node is not None:
            children.append(node)
    return Node(rule, match == YES, tuple(children))


def _possible(node: Node, resource: Resource | None) -> Outcomes:
    """Tell what a rule and those below it may say of a record; of whatever record, without one."""
    if resource is None:
        return node.any_record
    data = node.data
    match = YES if data is None else data(resource)
    if match == NO and not node.opens:
        return SILENT
    below = SILENT
    for child in node.children:
        found = _possible(child, resource)
        if found != SILENT:
            below = _JOIN[below][found]
    return _said(node, match, below)


def _said(node: Node, match: Match, below: Outcomes) -> Outcomes:
    """Tell what a rule may say, given how the record matches it and what the rules below may say (D4 to D6)."""
    inside = below & ~SILENT | node.rule.effect if below & SILENT else below
    if match == YES:
        found = inside
    elif node.opens:
        # A data filter in a root permit means that nothing else is released, but for what a deeper rule permits.
        outside = below & ~SILENT | DENY if below & SILENT else below
        found = outside if match == NO else inside | outside
    else:
        found = inside | SILENT
    return found if node.is_certain else found | SILENT


def _together(said: Iterable[Outcomes]) -> Outcomes:
    """Join what consents may say."""
    total = SILENT
    for one in said:
        total = _JOIN[total][one]
    return total


def _settled(
    case: Case, resource: Resource | None, speaking: Sequence[Applying], said: Sequence[Outcomes]
) -> Permit | Deny:
    """Name what decides: of those that decide alike the consent of the smallest id, whatever their order."""
    permitted = _together(said) == PERMIT
    wanted = PERMIT if permitted else DENY
    deciding = [one for one, possible in zip(speaking, said, strict=True) if _says(possible, wanted)]
    one = min(deciding or speaking, key=_rank)
    directive, path = one.directive, _path_of(one, resource, wanted)
    if permitted:
        return Permit(directive.id, directive.version, path, _obligations(case.request, resource), case)
    if not case.applying:
        reason = Reason.NONE
    elif not directive.is_readable:
        reason = Reason.UNREADABLE
    else:
        reason = Reason.DENIED if deciding else Reason.NOT_PERMITTED
    return Deny(directive.id, directive.version, path, reason, case)


def _rank(one: Applying) -> tuple[str, str]:
    """Order consents by id and version."""
    return (one.directive.id, one.directive.version)


def _says(possible: Outcomes, wanted: Outcomes) -> bool:
    """Tell whether outcomes account for a decision: a permit must be certain, a deny possible."""
    return possible == PERMIT if wanted == PERMIT else bool(possible & DENY)


def _path_of(one: Applying, resource: Resource | None, wanted: Outcomes) -> str:
    """Name the deepest rule that decides."""
    node = one.root
    if node is None or not _says(_possible(node, resource), wanted):
        node = one.base
        if node is None or not _says(_possible(node, resource), wanted):
            return one.directive.root.path
    while True:
        deeper = next((child for child in node.children if _says(_possible(child, resource), wanted)), None)
        if deeper is None:
            return node.rule.path
        node = deeper


def _obligations(request: Request, resource: Resource | None) -> tuple[str, ...]:
    """List what goes with a permit: the record's own obligations and refrains; a review of broken glass (D15)."""
    found = set() if resource is None else (resource.labels or frozenset()) & OBLIGATIONS
    broken = {"AUDTR", "break-glass.review"} if request.purpose_key == "BTG" else set()
    return tuple(sorted(found | broken))


# Reading a consent


_ALWAYS: Final = Span(BEGINNING, END)
_UNREADABLE: Final = Rule("Consent", DENY)


def compile_consent(
    consent: object, *, consent_id: str = "", version: str = "1", any_patient: bool = False, zone: tzinfo = UTC
) -> Directive:
    """Read a FHIR R4 Consent.

    Args:
        consent: the resource, parsed JSON; anything else denies.
        consent_id: what it is called in decisions; its own id if this is empty.
        version: which of its versions.
        any_patient: whether it is known elsewhere whose it is, and its own reference does not matter.
        zone: of dates without one.

    Returns:
        It, compiled. What cannot be read applies to every patient at every time, and denies.
    """
    name, mark = consent_id or _id_of(consent), _digest_of(consent)
    blank = Directive(name, version, mark, _UNREADABLE, _ALWAYS, any_patient=any_patient)
    try:
        found = _object(consent)
        head = _head(found, blank)
    except InputError:
        return replace(blank, any_patient=True, is_readable=False)
    try:
        return _ruled(found, head, zone) if head.is_active else head
    except InputError:
        return replace(head, is_readable=False)


def compile_history(versions: Sequence[tuple[int, object]], consent_id: str, *, zone: tzinfo = UTC) -> History:
    """Read all versions of a consent.

    Args:
        versions: (microseconds since 1970 when the ledger recorded it, the resource), in any order; of two that were
            recorded at once the later in the list counts.
        consent_id: what it is called in decisions.
        zone: of dates without one.

    Returns:
        Them, compiled.
    """
    ordered = sorted(versions, key=lambda row: row[0])
    compiled = [
        (recorded, compile_consent(resource, consent_id=consent_id, version=str(number), zone=zone))
        for number, (recorded, resource) in enumerate(ordered, 1)
    ]
    return History(tuple(compiled))


def _id_of(consent: object) -> str:
    """Return a consent's id, if it has one."""
    found = consent.get("id") if isinstance(consent, dict) else None
    return found if isinstance(found, str) else ""


def _digest_of(consent: object) -> bytes:
    """Hash a consent as it was read; what is too deep or no JSON is unreadable, and has the hash of nothing."""
    try:
        return digest("medchain/consent-read/v1", orjson.dumps(consent, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:
        return digest("medchain/consent-read/v1")


def _head(consent: Mapping[str, object], blank: Directive) -> Directive:
    """Read whether a consent applies at all, and whose it is (D2)."""
    if consent.get("resourceType") != "Consent":
        raise _unreadable("resourceType")
    scopes = _codings(consent.get("scope"))
    if not scopes:
        raise _unreadable("scope")
    is_active = _text(consent.get("status")) == "active" and ("patient-privacy" in {code for _, code in scopes})
    return replace(blank, is_active=is_active, patient=_reference(consent.get("patient")))


def _ruled(consent: Mapping[str, object], head: Directive, zone: tzinfo) -> Directive:
    """Read the rules of a consent that applies (D4, D7)."""
    if not consent.keys().isdisjoint(_MODIFIERS):
        raise _unreadable("modifierExtension")
    base = _base(consent)
    if "provision" not in consent:
        return replace(head, root=base or Rule("provision", SILENT))
    provision = _object(consent["provision"])
    period = _period(provision["period"], zone) if "period" in provision else _ALWAYS
    root = _Reading(zone).rule(provision, "provision", 1)
    if "type" not in provision:
        return replace(head, period=period, root=root if base is None else _over(base, root))
    # A permit in a policy that permits anyway means that it wants no more than itself.
    kept = None if root.effect == PERMIT and base is not None and base.effect == PERMIT else base
    return replace(head, period=period, root=root, base=kept if "policyRule" in consent else None)


def _over(base: Rule, root: Rule) -> Rule:
    """Give a root without type what its base policy says, inside what the root names."""
    terms = None
    if root.terms is not None and base.terms is not None and not root.terms.keys() & base.terms.keys():
        terms = {**root.terms, **base.terms}
    return replace(
        root,
        effect=base.effect,
        context=_all([base.context, root.context]),
        data=_all([base.data, root.data]),
        terms=terms,
        children=(*base.children, *root.children),
    )


def _base(consent: Mapping[str, object]) -> Rule | None:
    """Read the base policy: `policyRule`, or else the strictest of IHE PCF's policies that `policy` names (D7)."""
    if "policyRule" in consent:
        codes = {code for system, code in _codings(consent["policyRule"]) if system in {ACT_CODE, None}}
        return next((rule for code, rule in _BASES.items() if code in codes), None)
    entries = [_object(item).get("uri") for item in _list(consent["policy"])] if "policy" in consent else []
    found = [(policy, index) for policy in Policy for index, uri in enumerate(entries) if uri == PCF_POLICY + policy]
    return replace(_POLICIES[found[0][0]].root, path=f"policy[{found[0][1]}]") if found else None


_MODIFIERS: Final = frozenset({"modifierExtension", "implicitRules"})
_DATA: Final = ("class", "code", "data", "dataPeriod", "securityLabel")
_MEMBERS: Final = frozenset({"action", "actor", "extension", "id", "period", "provision", "purpose", "type", *_DATA})
_EFFECTS: Final = {"permit": PERMIT, "deny": DENY}
_RESOURCE_TYPES: Final = frozenset({"http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types", None})
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_RECIPIENTS: Final = frozenset({"IRCP", "NOT", "PRCP", "REFB", "REFT", "TRC"})
"""ParticipationType: what lies below ParticipationInformationRecipient."""
_CUSTODIAN: Final = "CST"
_ANY: Final = ""


@dataclass(slots=True)
class _Reading:
    """Reads the provisions of one consent, no more than `MAX_RULES`."""

    zone: tzinfo
    left: int = MAX_RULES

    def rule(self, provision: Mapping[str, object], path: str, depth: int) -> Rule:
        """Read a provision and those inside it."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH or not provision.keys() <= _MEMBERS:
            raise _unreadable(path)
        is_root = depth == 1
        # R4 wants a type in every provision but the root: one without can take away, never give.
        effect = SILENT if is_root and "type" not in provision else DENY
        if "type" in provision:
            effect = _EFFECTS.get(_text(provision["type"]), 0)
            if not effect:
                raise _unreadable(path)
        inside = _list(provision["provision"]) if "provision" in provision else []
        return Rule(
            path,
            effect,
            _all(self.context(provision, effect, is_root=is_root)),
            _all(self.data(provision, effect)),
            {name: provision[name] for name in _DATA if name in provision},
            tuple(
                self.rule(_object(item), f"{path}.provision[{index}]", depth + 1) for index, item in enumerate(inside)
            ),
            is_root,
            has_actor="actor" in provision,
        )

    def context(self, provision: Mapping[str, object], effect: Outcomes, *, is_root: bool) -> Iterator[Context]:
        """Read the tests of the request; the root's period is the consent's."""
        if "period" in provision and not is_root:
            yield _period_test(_period(provision["period"], self.zone))
        if "actor" in provision:
            yield _actor_test([_actor(_object(item)) for item in _list(provision["actor"])])
        if "purpose" in provision:
            codings = [_coding(item) for item in _list(provision["purpose"])]
            yield _purpose_test(codings)
            named = {code for _, code in codings}
            if (
                effect == PERMIT
                and "BTG" in named
                and "actor" not in provision
                and named.isdisjoint({"TREAT", "ETREAT"})
            ):
                yield _break_glass_test
        if "action" in provision:
            concepts = [_codings(item) for item in _list(provision["action"])]
            yield _action_test(frozenset(code for row in concepts for _, code in row), doubt=not all(concepts))

    def data(self, provision: Mapping[str, object], effect: Outcomes) -> Iterator[Data]:
        """Read the tests of the record."""
        if "securityLabel" in provision:
            yield _label_test([_coding(item) for item in _list(provision["securityLabel"])], effect)
        if "class" in provision:
            yield _class_test([_coding(item) for item in _list(provision["class"])])
        if "code" in provision:
            concepts = [_codings(item) for item in _list(provision["code"])]
            yield _code_test([coding for row in concepts for coding in row], doubt=not all(concepts))
        if "dataPeriod" in provision:
            yield _data_period_test(_period(provision["dataPeriod"], self.zone))
        if "data" in provision:
            yield _data_test([_named(_object(item)) for item in _list(provision["data"])])


Coding: TypeAlias = tuple[str | None, str]
"""Code system, and code; a coding without code is ``(None, "")`` and matches perhaps."""


# Tests. Each says what it answers where something is not known: `PERHAPS`.


def _all(tests: Iterable[Callable[[Asked], Match] | None]) -> Callable[[Asked], Match] | None:
    """Make one test of several that must all hold; None of none."""
    given = [test for test in tests if test is not None]
    if len(given) < 2:  # noqa: PLR2004  # one needs no loop around it
        return given[0] if given else None

    def every(asked: Asked) -> Match:
        least = YES
        for test in given:
            found = test(asked)
            if found < least:
                if found == NO:
                    return NO
                least = found
        return least

    return every


def _period_test(period: Span | None) -> Context:
    """Test when it is asked: both ends of the period belong to it (D8)."""

    def test(request: Request) -> Match:
        if period is None:
            return PERHAPS
        return YES if period.low <= request.now < period.high else NO

    return test


def _actor_test(actors: Sequence[tuple[str | None, str | None]]) -> Context:
    """Test who asks (D10): rows of a reference, and what else is wanted of it."""
    anyone = frozenset(name for name, role in actors if name is not None and role == _ANY)
    in_role = [(name, role) for name, role in actors if name is not None and role not in {_ANY, _CUSTODIAN, None}]
    custodians = frozenset(name for name, role in actors if name is not None and role == _CUSTODIAN)
    doubt = any(name is None or role is None for name, role in actors)
    askers = frozenset(name for name, role in actors if name is not None and role != _CUSTODIAN)
    types = frozenset(map(_type_of, askers))
    ends, custodian_ends = frozenset(map(_end_of, askers)), frozenset(map(_end_of, custodians))

    def test(request: Request) -> Match:
        if not anyone.isdisjoint(request.names) or request.custodian in custodians:
            return YES
        if any(name in request.names and role == request.role for name, role in in_role):
            return YES
        if doubt or not types.isdisjoint(request.unknown):
            return PERHAPS
        if custodians and (request.custodian is None or _end_of(request.custodian) in custodian_ends):
            return PERHAPS
        if ends.isdisjoint(request.ends):
            return NO
        without_role = request.role is None and any(name in request.names for name, _ in in_role)
        alike = any(name not in askers and _end_of(name) in ends for name in request.names)
        return PERHAPS if without_role or alike else NO

    return test


def _purpose_test(codings: Sequence[Coding]) -> Context:
    """Test what for: it is one of the purposes, or one that lies below them (D11)."""
    covered: set[str] = set()
    doubtful: set[str] = set()
    for system, code in codings:
        if system in {ACT_REASON, None} and code in PURPOSES:
            (doubtful if system is None else covered).update(PURPOSES[code])
        elif code:
            # A request that names no system means any but HL7's own.
            (doubtful if system is None else covered).update({f"{system}|{code}", f"|{code}"})
    certain, perhaps, doubt = frozenset(covered), frozenset(doubtful), any(not code for _, code in codings)

    def test(request: Request) -> Match:
        key = request.purpose_key
        if key in certain:
            return YES
        return PERHAPS if doubt or key is None or key in perhaps else NO

    return test


def _break_glass_test(request: Request) -> Match:
    """Test who may declare that they break the glass, where a rule names nobody (D12)."""
    if BREAK_GLASS_GROUP in request.names:
        return YES
    return PERHAPS if request.groups is None else NO


def _action_test(codes: frozenset[str], *, doubt: bool) -> Context:
    """Test what is to be done."""

    def test(request: Request) -> Match:
        if request.action in codes:
            return YES
        return PERHAPS if doubt or request.action is None else NO

    return test


def _label_test(codings: Sequence[Coding], effect: Outcomes) -> Data:
    """Test labels (D9): of a permit this level and below, of a deny this level and above; sensitivity by is-a."""
    levels = [LEVELS[code] for system, code in codings if system in {CONFIDENTIALITY, None} and code in LEVELS]
    others = [coding for coding in codings if coding[1] not in LEVELS]
    named = frozenset(each for _, code in others if code for each in SENSITIVITIES.get(code, (code,)))
    doubt = any(not code for _, code in codings) or len(levels) + len(others) < len(codings)
    low, high = (min(levels), max(LEVELS.values())) if levels and effect == DENY else (0, max(levels, default=-1))

    def test(resource: Resource) -> Match:
        level, labels = resource.level, resource.labels
        if level is None or labels is None:
            return PERHAPS
        if low <= level <= high or not named.isdisjoint(labels):
            return YES
        return PERHAPS if doubt else NO

    return test


def _class_test(codings: Sequence[Coding]) -> Data:
    """Test the type; profiles and document types are not known of a record."""
    types = frozenset(code for system, code in codings if system in _RESOURCE_TYPES and code)
    doubt = any(system not in _RESOURCE_TYPES or not code for system, code in codings)

    def test(resource: Resource) -> Match:
        if resource.type in types:
            return YES
        return PERHAPS if doubt or resource.type is None else NO

    return test


def _code_test(codings: Sequence[Coding], *, doubt: bool) -> Data:
    """Test codes: system and code are the same; where one of the two has no system, perhaps."""
    whole = frozenset(coding_key(system, code) for system, code in codings if system is not None)
    bare = frozenset(code for _, code in codings)
    loose = frozenset(code for system, code in codings if system is None)

    def test(resource: Resource) -> Match:
        codes = resource.codes
        if codes is None or doubt:
            return PERHAPS if codes is None or whole.isdisjoint(codes) else YES
        if not whole.isdisjoint(codes):
            return YES
        for key in codes:
            system, _, code = key.rpartition("|")
            if code in loose or (not system and code in bare):
                return PERHAPS
        return NO

    return test


def _data_period_test(period: Span | None) -> Data:
    """Test when what the record tells of happened: wholly inside is yes, partly is perhaps (D8)."""

    def test(resource: Resource) -> Match:
        span = resource.span
        if span is None or period is None:
            return PERHAPS
        if period.low <= span.low and span.high <= period.high:
            return YES
        return PERHAPS if span.low < period.high and period.low < span.high else NO

    return test


def _data_test(rows: Sequence[tuple[str, str | None]]) -> Data:
    """Test whether the record is one of those named, or belongs to one (D13)."""
    itself = frozenset(name for meaning, name in rows if meaning != "authoredby" and name is not None)
    near = frozenset(name for meaning, name in rows if meaning in {"related", "dependents"} and name is not None)
    authors = frozenset(name for meaning, name in rows if meaning == "authoredby" and name is not None)
    doubt = any(name is None for _, name in rows)
    itself_ends, near_ends, author_ends = (frozenset(map(_end_of, names)) for names in (itself, near, authors))

    def test(resource: Resource) -> Match:
        if resource.reference in itself or not near.isdisjoint(resource.related):
            return YES
        if authors and resource.authors is not None and not authors.isdisjoint(resource.authors):
            return YES
        if doubt or (itself and (resource.reference is None or _end_of(resource.reference) in itself_ends)):
            return PERHAPS
        if near and not near_ends.isdisjoint(map(_end_of, resource.related)):
            return PERHAPS
        unknown = authors and (resource.authors is None or not author_ends.isdisjoint(map(_end_of, resource.authors)))
        return PERHAPS if unknown else NO

    return test


# Words


def unversioned(reference: str) -> str:
    """Return a reference without the version, the fragment and the question that it may name."""
    place, question, _ = reference.partition("#")[0].partition("?")
    # A condition stands behind a type alone, and names no record.
    is_condition = question and "/" not in place
    return reference if is_condition else place.partition("/_history/")[0].rstrip("/")


def coding_key(system: str | None, code: str) -> str:
    """Write a coding as `Resource.codes` holds it."""
    return f"{system or ''}|{code}"


def _coded(system: str | None, code: str, home: str, table: Mapping[str, frozenset[str]]) -> str:
    """Write a code as rules hold it: alone if it is one of HL7's, else with its system."""
    return code if code in table and system in {home, None} else coding_key(system, code)


def _same(one: str | None, other: str | None) -> Match:
    """Compare references: an absolute one and a relative one may be the same."""
    if one is None or other is None:
        return PERHAPS
    if one == other:
        return YES
    return PERHAPS if one.endswith("/" + other) or other.endswith("/" + one) else NO


def _end_of(reference: str) -> str:
    """Return type and id of a reference, in which an absolute one and a relative one to the same record are alike."""
    return "/".join(reference.rsplit("/", 2)[-2:])


def _type_of(reference: str) -> str:
    """Return the type of the record that a reference names."""
    return reference.rpartition("/")[0].rpartition("/")[2]


def _unreadable(member: str) -> InputError:
    """Make the error of what cannot be read; it never leaves this file."""
    return InputError("consent.unreadable", member=member)


def _object(value: object) -> Mapping[str, object]:
    """Read an object."""
    if not isinstance(value, dict):
        raise _unreadable("object")
    return value


def _list(value: object) -> Sequence[object]:
    """Read an array that is not empty."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ENTRIES:
        raise _unreadable("array")
    return value


def _text(value: object) -> str:
    """Read a text."""
    if not isinstance(value, str) or not value:
        raise _unreadable("text")
    return value


def _coding(value: object) -> Coding:
    """Read a Coding."""
    coding = _object(value)
    code, system = coding.get("code"), coding.get("system")
    if code is None:
        return (None, "")
    return (None if system is None else _text(system), _text(code))


def _codings(value: object) -> list[Coding]:
    """Read a CodeableConcept: its codings that have a code; none if it is text alone."""
    concept = _object(value)
    codings = [_coding(item) for item in _list(concept["coding"])] if "coding" in concept else []
    return [coding for coding in codings if coding[1]]


def _reference(value: object) -> str | None:
    """Read a Reference; None for one by identifier, and one into the consent itself."""
    if value is None:
        return None
    found = _object(value).get("reference")
    if found is None:
        return None
    text = _text(found)
    return None if text.startswith("#") else unversioned(text)


def _named(entry: Mapping[str, object]) -> tuple[str, str | None]:
    """Read an entry of `data`; one whose meaning we do not know may be about anything."""
    meaning = _text(entry.get("meaning"))
    known = meaning in {"instance", "related", "dependents", "authoredby"}
    return (meaning, _reference(entry.get("reference")) if known else None)


def _actor(entry: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Read an actor: its reference, and what is wanted of it: `_ANY` for a recipient, ``CST``, the code of a role.

    None for what it is if nobody can tell.
    """
    name = _reference(entry.get("reference"))
    if "role" not in entry:
        return (name, _ANY)
    codings = _codings(entry["role"])
    if any(code in _RECIPIENTS and system in {_PARTICIPATION, None} for system, code in codings):
        return (name, _ANY)
    wanted = [code if system != _PARTICIPATION or code == _CUSTODIAN else None for system, code in codings]
    return (name, wanted[0] if len(wanted) == 1 else None)


def _period(value: object, zone: tzinfo) -> Span | None:
    """Read a Period: a date counts to its end; None for one that nobody can read (D8)."""
    period = _object(value)
    spans = [span_of(_text(period[name]), zone) if name in period else None for name in ("start", "end")]
    start, end = spans
    named = period.keys() & {"start", "end"}
    if not named or not period.keys() <= {"start", "end", "id", "extension"} or len(named) > sum(map(bool, spans)):
        return None
    low, high = BEGINNING if start is None else start.low, END if end is None else end.high
    return Span(low, high) if low < high else None


# The policies of a consortium, and of consents that name one


_CLINICAL: Final = frozenset({"clinician", "doctor", "nurse", "pharmacist", "physician", "practitioner"})
_CLINICIANS: Final = frozenset({"Practitioner", "PractitionerRole"})


def _clinician_test(request: Request) -> Match:
    """Test whether a clinician asks: by the role, or where none is told by the kind of the actor (D1)."""
    role = request.role
    if role is not None and role not in _RECIPIENTS and _type_of(role) not in _CLINICIANS:
        return YES if role.lower() in _CLINICAL else NO
    if request.actor is None:
        return PERHAPS
    return YES if _type_of(request.actor) in _CLINICIANS else NO


def _policy(policy: Policy) -> Directive:
    """Write a policy as the rules of a consent."""
    name = policy.value
    normal: Coding = (CONFIDENTIALITY, "N")
    capped = Rule(
        name,
        PERMIT,
        data=_label_test([normal], PERMIT),
        terms={"securityLabel": [{"code": "N", "system": CONFIDENTIALITY}]},
        is_root=True,
    )
    treating = _all([_purpose_test([(ACT_REASON, "TREAT")]), _clinician_test])
    breaking = _all([_purpose_test([(ACT_REASON, "BTG")]), _break_glass_test])
    roots = {
        Policy.DENY: Rule(name, DENY, is_root=True),
        Policy.BREAK_GLASS_ONLY: Rule(name, DENY, children=(Rule(name, PERMIT, context=breaking),), is_root=True),
        Policy.BASIC_NORMAL: replace(capped, context=treating),
        Policy.ALL_NORMAL: capped,
    }
    mark = digest("medchain/policy/v1", name.encode())
    return Directive(IMPLICIT, name, mark, roots[policy], _ALWAYS, any_patient=True)


_POLICIES: Final = {policy: _policy(policy) for policy in Policy}

_EMERGENCY: Final = Rule("policyRule", PERMIT, context=_purpose_test([(ACT_REASON, "ETREAT")]))
_REFUSED: Final = Rule("policyRule", DENY, is_root=True)
_BASES: Final[Mapping[str, Rule]] = {
    "OPTOUT": _REFUSED,
    "OPTOUTE": _REFUSED,
    "EMRGONLY": replace(_REFUSED, children=(_EMERGENCY,)),
    "OPTIN": Rule("policyRule", PERMIT, is_root=True),
}
"""ActCode, strictest first → base policy. OPTINR has restrictions that the code does not tell: it is none."""

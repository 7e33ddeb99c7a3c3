"""Proof bundles: whether an answer holds, judged offline from public keys alone.

Keeps true: nothing in a bundle is believed before it is reached from the policy that the verifier brought; a record is
believed only through the state map of a state leaf that a quorum cosigned, and anything only where that leaf, the last
of its tree, names the very members whose quorum that is; "current" is said only under fresh cosignatures. Trusts the
caller for the policy, the ledger id (if given) and the time.
Source: `docs/spec/proof-bundle.md`; C2SP tlog-proof, tlog-policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from medchain.encoding import Json, canonical, parse_canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.askers import check_askers, open_askers
from medchain.ledger.collection import ITEMS, Item, items_of, judge_items
from medchain.ledger.disclosures import Disclosures, open_disclosures
from medchain.ledger.evidence.document import EVIDENCE_FILE
from medchain.ledger.evidence.judge import judge_claim
from medchain.ledger.evidence.verdict import VERDICT_FILE, ClaimVerdict, is_of_other_rules
from medchain.ledger.genesis import parse_genesis
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.lineage import is_named
from medchain.ledger.listed import MEMBERS_FILE, names_of
from medchain.ledger.looks import Looks, open_looks
from medchain.ledger.machine import StateLeaf, parse_state_leaf
from medchain.ledger.mapped import MAP_FILE, read_map, read_records
from medchain.ledger.object import STOPPED, StateRecord, map_key, public_owner
from medchain.ledger.opening import NOTHING, OPENING_FILE, Shown, open_content
from medchain.ledger.policy_steps import CHAIN_FILE, chain_in_force
from medchain.ledger.registered import BLOCK_FILE, accepted_at
from medchain.ledger.transaction import Stop, Transaction, parse_envelope
from medchain.tlog.checkpoint import Checkpoint
from medchain.tlog.policy import Policy, VerifiedCheckpoint
from medchain.tlog.proof import parse_proof, verify_tlog_proof
from medchain.tlog.statemap import verify_map
from medchain.tlog.witness import verify_add_checkpoint

MAX_BUNDLE_BYTES: Final = 64 * 1024 * 1024
"""Largest bundle, all files together."""

MAX_FILES: Final = 4096
"""Most files of a bundle: five hundred objects with seven files each, and what stands beside them."""

MAX_AGE_S: Final = 300
"""Default limit on the age of cosignatures for a current answer, in seconds."""

ANSWER_TYPE: Final = "medchain/answer/v1"
"""Type member of ``answer.json``."""

_STATE_FILES: Final = frozenset({"state.bin", "state.tlog-proof"})
_ENTRY_FILES: Final = frozenset({"answer.json", "entry.bin", "entry.tlog-proof", "policy.txt"})
_OPTIONAL_FILES: Final = frozenset(
    {
        "absence.json",
        "askers.json",
        BLOCK_FILE,
        "checkpoint-old",
        "consistency.txt",
        "disclosures.json",
        "genesis.json",
        "history.json",
        "looks.json",
        MAP_FILE,
        OPENING_FILE,
        CHAIN_FILE,
        "record.json",
    }
)
_RECORD_FILES: Final = frozenset({"history.json", "looks.json", OPENING_FILE, "record.json"})
_OBJECT_FILES: Final = _RECORD_FILES | {"absence.json", "askers.json", BLOCK_FILE, "disclosures.json", MAP_FILE}
_CLAIM_FILES: Final = frozenset({EVIDENCE_FILE, MEMBERS_FILE, VERDICT_FILE})
_MAX_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle proves.

    Attributes:
        answer: ``entry``, ``record``, ``absent``, ``items``, ``claim``, ``disclosures`` or ``looks``.
        current: whether it holds for the newest state, under cosignatures younger than the limit.
        ledger: ledger id in hexadecimal, None where only a state leaf is proven.
        object: map key in hexadecimal, None for an entry alone.
        position: leaf index of the entry.
        size: size of the checkpoint that the answer is as of.
        time: Unix seconds: the ledger's time of the state proven, or the oldest cosignature counted.
        status: status of the version of the object that is proven, None for an entry or an absence.
        version: that version, None likewise.
        cosigners: names, in the policy, of those whose cosignatures were counted.
        newest: newest version of the object in the state proven, None for an entry or an absence.
        disclosures: all that were made under a grant up to the state proven, None where that is not the question.
        looks: all that a custodian has entered of a patient up to the root proven, None likewise.
        items: the objects proven, where the bundle proves several, whose entries it does not hold.
        registered: when the entry was accepted, Unix seconds, None where the bundle does not prove it.
        shown: what is shown of the content of the version that is proven.
        claim: what is found of an insurer's claim, None where that is not the question.
        names: org_id → language → name of the members that a claim is about, as the ledger has them.
    """

    answer: str
    current: bool
    ledger: str | None
    object: str | None
    position: int
    size: int
    time: int
    status: str | None
    version: int | None
    cosigners: tuple[str, ...]
    newest: int | None = None
    disclosures: Disclosures | None = None
    looks: Looks | None = None
    registered: int | None = None
    items: tuple[Item, ...] = ()
    shown: Shown = NOTHING
    claim: ClaimVerdict | None = None
    names: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    @property
    def opened(self) -> bytes | None:
        """The record's bytes, or the body's canonical JSON; None where the bundle does not hold it."""
        return self.shown.content


def verify_bundle(
    files: Mapping[str, bytes],
    policy_text: str,
    *,
    now: int,
    max_age_s: int = MAX_AGE_S,
    ledger: bytes | None = None,
) -> Verdict:
    """Judge a bundle.

    Args:
        files: relative name, with ``/``, → content.
        policy_text: the verifier's own trusted policy (C2SP tlog-policy).
        now: Unix seconds.
        max_age_s: how old cosignatures may be for a current answer, in seconds.
        ledger: expected ledger id, 32 bytes, or None.

    Returns:
        What it proves.

    Raises:
        InputError: ``bundle.*``, ``encoding.*`` or the code of the format for what is no bundle.
        VerificationError: for what does not hold, with the code of the rule broken: ``bundle.other_policy`` where the
            state is of other members than those of the policy.
    """
    _check_names(files)
    policy = chain_in_force(files, policy_text)
    leaf = files["entry.bin"]
    position, checkpoint = verify_tlog_proof(files["entry.tlog-proof"], leaf, policy)
    of_entry = checkpoint.checkpoint
    named = _ledger_of(leaf)
    if ledger is not None and named is None:
        # Demanded, and not shown: of a state leaf only the trusted policy's log tells whose it is.
        raise VerificationError("bundle.ledger_unnamed")
    if ledger is not None and named != ledger:
        raise VerificationError("bundle.ledger")
    state, checkpoint = _state(files, policy, of_entry)
    items = items_of(files)
    if items:
        current = _is_fresh(files["state.tlog-proof"], policy, now, max_age_s)
        verdict = _items_verdict(items, position, state, checkpoint, current=current)
        verdict = _claim(verdict, files, state, checkpoint.checkpoint)
    elif MAP_FILE in files:
        current = _is_fresh(files["state.tlog-proof"], policy, now, max_age_s)
        verdict = _state_verdict(files, position, state, checkpoint, ledger=named, current=current)
    elif files.keys() & (_RECORD_FILES | {"absence.json", "askers.json", "disclosures.json"}):
        raise InputError("bundle.files", name=MAP_FILE)
    else:
        verdict = _entry_verdict(position, checkpoint)
    _check_consistency(files, policy, checkpoint.checkpoint)
    registered = accepted_at(files[BLOCK_FILE], position, checkpoint.checkpoint) if BLOCK_FILE in files else None
    verdict = replace(verdict, ledger=None if named is None else named.hex(), registered=registered)
    _check_answer(files["answer.json"], verdict)
    return verdict


def answer_document(verdict: Verdict) -> bytes:
    """Write ``answer.json``: what the bundle claims to answer, which the proofs must say as well."""
    return canonical(
        {
            "answer": verdict.answer,
            "ledger": verdict.ledger,
            "object": verdict.object,
            "position": verdict.position,
            "size": verdict.size,
            "type": ANSWER_TYPE,
        }
    )


def _check_names(files: Mapping[str, bytes]) -> None:
    """Refuse a bundle with other files than the format's, or too large."""
    if len(files) > MAX_FILES or sum(len(content) for content in files.values()) > MAX_BUNDLE_BYTES:
        raise InputError("bundle.too_large", files=len(files))
    if {"disclosures.json", "looks.json"} <= files.keys():
        # A bundle answers one question.
        raise InputError("bundle.files", name="looks.json")
    for name in sorted(_ENTRY_FILES - files.keys()):
        raise InputError("bundle.files", name=name)
    if not files.keys() >= _STATE_FILES:
        raise InputError("bundle.state")
    items = {name for name in files if name.startswith(ITEMS)}
    of_claim = _CLAIM_FILES if items and EVIDENCE_FILE in files else frozenset()
    for name in sorted(of_claim - files.keys()):
        raise InputError("bundle.files", name=name)
    beside = _OBJECT_FILES - of_claim if items else frozenset()
    allowed = _ENTRY_FILES | _STATE_FILES | _OPTIONAL_FILES | of_claim
    for name in sorted((files.keys() - allowed - items) | (files.keys() & beside)):
        raise InputError("bundle.files", name=name[:64])


def _ledger_of(leaf: bytes) -> bytes | None:
    """Return the ledger id that a leaf names: an envelope's, or the genesis' own; None for a state leaf."""
    value = parse_canonical(leaf, max_bytes=len(leaf))
    if type(value) is dict and "payload" in value:
        return parse_envelope(leaf).transaction.ledger
    if type(value) is dict and "map_root" in value:
        parse_state_leaf(leaf)
        return None
    return parse_genesis(leaf).ledger


def _state(files: Mapping[str, bytes], policy: Policy, of_entry: Checkpoint) -> tuple[StateLeaf, VerifiedCheckpoint]:
    """Check the state leaf that ends the tree of both proofs, and that it is of the members whose quorum is counted.

    A policy does not say until when it was in force, and a checkpoint not whose it is. What a quorum of other members
    has cosigned, former ones or those of a branch that was dropped, may be final for nobody.
    """
    index, verified = verify_tlog_proof(files["state.tlog-proof"], files["state.bin"], policy)
    tree = verified.checkpoint
    if of_entry.size == tree.size and of_entry.root != tree.root:
        # Each proof holds, and together they prove a fork.
        raise VerificationError("bundle.split_view", size=tree.size)
    if not of_entry.size == tree.size == index + 1:
        raise VerificationError("bundle.state")
    try:
        state = parse_state_leaf(files["state.bin"])
    except InputError as error:
        if error.code == "policy.unnamed":
            raise
        raise InputError("bundle.state") from error
    if not is_named(policy, state.policy):
        raise VerificationError("bundle.other_policy")
    return state, verified


def _entry_verdict(position: int, checkpoint: VerifiedCheckpoint) -> Verdict:
    """Say that an entry is in the log; "current" has no meaning for it."""
    return Verdict(
        answer="entry",
        current=False,
        ledger=None,
        object=None,
        position=position,
        size=checkpoint.checkpoint.size,
        time=_oldest(checkpoint),
        status=None,
        version=None,
        cosigners=tuple(checkpoint.cosigners),
    )


def _state_verdict(
    files: Mapping[str, bytes],
    position: int,
    state: StateLeaf,
    checkpoint: VerifiedCheckpoint,
    *,
    ledger: bytes | None,
    current: bool,
) -> Verdict:
    """Judge map, record and opening under a state leaf that is in the log."""
    proof = read_map(files)
    verify_map(state.map_root, proof)
    records = read_records(files, proof)
    newest, record = (records[0], records[-1]) if records else (None, None)
    if newest is None and files.keys() & _RECORD_FILES:
        raise VerificationError("bundle.record")
    if newest is None and position != checkpoint.checkpoint.size - 1:
        # What is not there has no entry but the one that ends the tree, which says as of when.
        raise VerificationError("bundle.entry")
    if record is not None and (record.since != position or not _makes(files["entry.bin"], record, position)):
        raise VerificationError("bundle.entry")
    shown = NOTHING if record is None or OPENING_FILE not in files else open_content(files[OPENING_FILE], record)
    disclosures = _disclosures(files, proof.key, records[::-1], state.map_root, ledger)
    looks = None if record is None or newest is None else _looks(files, record, newest, shown, state.time)
    return Verdict(
        answer=_answer(record, disclosures, looks),
        current=current,
        ledger=None,
        object=proof.key.hex(),
        position=position,
        size=checkpoint.checkpoint.size,
        time=state.time,
        status=None if record is None else record.status,
        version=None if record is None else record.version,
        cosigners=tuple(checkpoint.cosigners),
        shown=shown,
        newest=None if newest is None else newest.version,
        disclosures=disclosures,
        looks=looks,
    )


def _items_verdict(
    items: list[dict[str, bytes]], position: int, state: StateLeaf, checkpoint: VerifiedCheckpoint, *, current: bool
) -> Verdict:
    """Judge several objects under a state leaf that is in the log."""
    if position != checkpoint.checkpoint.size - 1:
        # None of them has the entry; it is the one that ends the tree, which says as of when.
        raise VerificationError("bundle.entry")
    judged = judge_items(items, state.map_root, checkpoint.checkpoint)
    return replace(_entry_verdict(position, checkpoint), answer="items", current=current, time=state.time, items=judged)


def _claim(verdict: Verdict, files: Mapping[str, bytes], state: StateLeaf, tree: Checkpoint) -> Verdict:
    """Judge a claim where the bundle is about one; refuse one whose own verdict is another."""
    if EVIDENCE_FILE not in files:
        return verdict
    found = judge_claim(files[EVIDENCE_FILE], files[MEMBERS_FILE], verdict.items, state, tree)
    if files[VERDICT_FILE] != found.encode():
        raise VerificationError("bundle.rules" if is_of_other_rules(files[VERDICT_FILE]) else "bundle.verdict")
    return replace(verdict, answer="claim", claim=found, names=names_of(files[MEMBERS_FILE]))


def _answer(record: StateRecord | None, disclosures: Disclosures | None, looks: Looks | None) -> str:
    """Name what is answered."""
    if disclosures is not None:
        return "disclosures"
    if looks is not None:
        return "looks"
    return "absent" if record is None else "record"


def _disclosures(
    files: Mapping[str, bytes], key: bytes, records: Sequence[StateRecord], map_root: bytes, ledger: bytes | None
) -> Disclosures | None:
    """Judge the disclosures under a grant and who asked for them; None where that is not the question."""
    if "disclosures.json" not in files:
        if "askers.json" in files:
            raise InputError("bundle.files", name="askers.json")
        return None
    disclosures, bodies = open_disclosures(files["disclosures.json"], key, records)
    if ("askers.json" in files) != bool(disclosures.listed):
        raise InputError("bundle.files", name="askers.json")
    if disclosures.listed:
        check_askers(open_askers(files["askers.json"], map_root), ledger, records, bodies)
    return disclosures


def _looks(
    files: Mapping[str, bytes], record: StateRecord, newest: StateRecord, shown: Shown, time: int
) -> Looks | None:
    """Judge a patient's list of looks under a custodian's root; None where that is not the question."""
    if "looks.json" not in files:
        return None
    if shown.content is None or shown.part is not None:
        raise InputError("bundle.files", name="opening.json")
    return open_looks(files["looks.json"], record, newest.version, shown.content, time)


def _oldest(checkpoint: VerifiedCheckpoint) -> int:
    """Return the oldest time at which a counted cosigner signed; 0 where the policy counts none."""
    return min(checkpoint.cosigners.values(), default=0)


def _is_fresh(proof: bytes, policy: Policy, now: int, max_age_s: int) -> bool:
    """Tell whether a quorum cosigned within the limit; older lines beyond it do not count against that."""
    try:
        policy.check(parse_proof(proof).checkpoint, now=now, max_age_s=max_age_s)
    except VerificationError:
        return False
    return True


def _makes(leaf: bytes, record: StateRecord, position: int) -> bool:
    """Tell whether an entry is the one that made this version of an object; the genesis made those of position 0."""
    if position == 0:
        return parse_genesis(leaf).encoded == leaf
    transaction = parse_envelope(leaf).transaction
    if isinstance(transaction, Stop):
        return transaction.object == record.key and record.status == STOPPED
    made = (record.key, record.version, record.body_hash, record.status)
    return made in set(_objects(transaction))


def _objects(transaction: Transaction) -> Iterator[tuple[bytes, int, bytes, str]]:
    """List map key, version, body hash and status of all objects that a transaction makes."""
    bodies = iter(transaction.bodies)
    for change in transaction.changes:
        creator = transaction.creator
        kind = KINDS.get(change.kind)
        if kind is not None and kind.public_body:
            content = next(bodies, None)
            creator, _ = public_owner(change.kind, content if type(content) is dict else {"org_id": ""})
        for row in change.objects:
            yield map_key(change.kind, creator, row.id), row.version, row.body_hash, change.status


def _check_consistency(files: Mapping[str, bytes], policy: Policy, answered: Checkpoint) -> None:
    """Check that the asker's earlier checkpoint is a beginning of the very tree that the answer is about.

    Not only of one as large: a quorum that shows two histories would have it grow in the one and answer from the other.
    """
    present = files.keys() & {"consistency.txt", "checkpoint-old"}
    if not present:
        return
    if len(present) == 1:
        raise InputError("bundle.files", name="checkpoint-old")
    grown = verify_add_checkpoint(files["consistency.txt"], files["checkpoint-old"], policy)
    if grown.checkpoint != answered:
        raise VerificationError("bundle.consistency")


def _check_answer(data: bytes, verdict: Verdict) -> None:
    """Refuse a bundle whose own words say something else than its proofs."""
    parse_canonical(data, max_bytes=_MAX_ANSWER_BYTES)
    if data != answer_document(verdict):
        raise VerificationError("bundle.answer")

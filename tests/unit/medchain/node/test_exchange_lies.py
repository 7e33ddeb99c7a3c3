"""Requests and answers that lie: what custodian and asker refuse, over whole nodes with real files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.sealing import open_release
from medchain.errors import (
    AccessDeniedError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.kinds import access as accesses
from medchain.ledger.kinds.content import Period
from medchain.ledger.request import ReleaseRequest, access_key
from medchain.ledger.signed_request import SignedRequest, parse_request, sign_request
from medchain.node.exchange import Asker
from medchain.node.release import access_entry_id, parse_answer, wraps_hash
from tests.unit.medchain.ledger.world import fresh, seed
from tests.unit.medchain.node.exchanges import (
    ANXIN,
    RENHE,
    Exchange,
    observation,
    reasons,
)
from tests.unit.medchain.node.federation import ROLES, TONGJI, keys_of


@pytest.fixture(scope="module")
def opened(federation):
    """Open one grant for all tests: none of them stops or changes it."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    return made


@pytest.fixture
def exchange(opened):
    """Forget what the test before noted, and undo what it changed."""
    opened.forget()
    now = opened.federation.time
    yield opened
    opened.federation.time = now
    opened.on_answer = lambda data: data


def test_a_request_for_another_custodian_is_refused(exchange):
    signed = exchange.asker().prepare(exchange.wish(custodian=TONGJI))
    with pytest.raises(AccessDeniedError, match=r"release\.custodian"):
        exchange.custodian().release(signed.encode(), ANXIN)


def test_a_request_that_another_member_brings_is_refused(exchange):
    signed = exchange.asker().prepare(exchange.wish())
    with pytest.raises(AccessDeniedError, match=r"release\.recipient"):
        exchange.custodian().release(signed.encode(), TONGJI)


def test_a_stranger_is_refused(exchange):
    signed = exchange.asker().prepare(exchange.wish())
    with pytest.raises(AccessDeniedError, match=r"release\.recipient"):
        exchange.custodian().release(signed.encode(), "nobody")


@pytest.mark.parametrize("late_s", [-61, 121])
def test_a_request_of_another_time_is_refused(exchange, late_s):
    signed = exchange.asker().prepare(exchange.wish())
    exchange.federation.time += late_s
    with pytest.raises(AccessDeniedError, match=r"release\.time"):
        exchange.asker().fetch(signed)


def test_a_request_for_another_ledger_is_refused(exchange):
    request = replace(exchange.asker().prepare(exchange.wish()).request, ledger=fresh(32))
    signed = sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), request)
    with pytest.raises(AccessDeniedError, match=r"release\.ledger"):
        exchange.asker().fetch(signed)


def test_a_changed_request_is_refused(exchange):
    signed = exchange.asker().prepare(exchange.wish())
    wider = replace(signed, request=replace(signed.request, resource_types=("*",)))
    with pytest.raises(AccessDeniedError, match=r"release\.signature"):
        exchange.asker().fetch(wider)


def test_a_request_signed_by_another_member_is_refused(exchange):
    request = exchange.asker().prepare(exchange.wish()).request
    with pytest.raises(AccessDeniedError, match=r"release\.key"):
        exchange.asker().fetch(sign_request(Es384Signer(seed(TONGJI, "authentication", 1)), request))


def test_keys_are_wrapped_to_the_askers_own_key_only(exchange):
    other = next(iter(keys_of(TONGJI).encryption))
    request = replace(exchange.asker().prepare(exchange.wish()).request, encryption_key=other)
    with pytest.raises(AccessDeniedError, match=r"release\.key"):
        exchange.asker().fetch(sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), request))


def test_what_is_no_request_is_refused_and_noted(exchange):
    with pytest.raises(InputError):
        exchange.custodian().release(b'{"type": "medchain/signed-release-request/v1"}', ANXIN)
    assert reasons(exchange) == {"encoding.not_canonical"}


def test_a_member_that_is_not_the_recipient_gets_nothing_under_a_grant(exchange):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        exchange.asker(TONGJI).request_release(exchange.wish())
    assert reasons(exchange) == {"release.grant"}


# Answers that lie


def tampered(exchange, change) -> VerificationError:
    """Let an answer be changed on its way; returns how the asker refuses it."""
    exchange.on_answer = change
    with pytest.raises(VerificationError) as caught:
        exchange.asker().request_release(exchange.wish())
    rows = exchange.federation.sites[ANXIN].records.accesses(exchange.grant.hex())
    assert rows[-1].direction == "rejected"
    return caught.value


def reencoded(change):
    return lambda data: change(parse_answer(data)).encode()


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def test_a_changed_envelope_is_refused_by_name(exchange):
    def change(answer):
        last = answer.records[1]
        names.append(last.object_id.hex())
        return replace(answer, records=(answer.records[0], replace(last, envelope=flipped(last.envelope))))

    names: list[str] = []
    error = tampered(exchange, reencoded(change))
    assert (error.code, error.fields["object_id"]) == ("exchange.record", names[0])


def test_exchanged_envelopes_are_refused_by_name(exchange):
    def change(answer):
        one, two = answer.records
        names.append(one.object_id.hex())
        return replace(answer, records=(replace(one, envelope=two.envelope), replace(two, envelope=one.envelope)))

    names: list[str] = []
    error = tampered(exchange, reencoded(change))
    assert (error.code, error.fields["object_id"]) == ("exchange.record", names[0])


def test_records_in_another_order_are_refused(exchange):
    error = tampered(exchange, reencoded(lambda answer: replace(answer, records=answer.records[::-1])))
    assert error.code == "exchange.records"


def test_a_record_left_out_is_refused(exchange):
    error = tampered(exchange, reencoded(lambda answer: replace(answer, records=answer.records[:1])))
    assert error.code == "exchange.records"


def test_a_record_twice_is_refused(exchange):
    error = tampered(exchange, reencoded(lambda answer: replace(answer, records=(answer.records[0],) * 2)))
    assert error.code == "exchange.records"


def test_a_record_of_which_the_ledger_knows_nothing_is_refused_by_name(exchange):
    def change(answer):
        return replace(answer, records=(replace(answer.records[0], object_id=b"\x07" * 16), answer.records[1]))

    error = tampered(exchange, reencoded(change))
    assert (error.code, error.fields["object_id"]) == ("exchange.record", "07" * 16)


def test_a_record_at_another_position_is_refused(exchange):
    def change(answer):
        return replace(answer, records=(replace(answer.records[0], position=0), answer.records[1]))

    assert tampered(exchange, reencoded(change)).code == "exchange.record"


def test_changed_wraps_are_refused(exchange):
    error = tampered(exchange, reencoded(lambda answer: replace(answer, wraps=flipped(answer.wraps))))
    assert error.code == "exchange.wraps"


def test_an_answer_to_another_request_is_refused(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    exchange.asker().request_release(exchange.wish())
    other = exchange.asker().prepare(exchange.wish())
    with pytest.raises(VerificationError, match=r"exchange\.request"):
        exchange.asker().open(other, answers[0])


def test_an_entry_that_does_not_list_our_request_is_refused(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    exchange.asker().request_release(exchange.wish())
    other = exchange.asker().prepare(exchange.wish())
    forged = replace(parse_answer(answers[0]), request_hash=other.request.hash)
    with pytest.raises(VerificationError, match=r"exchange\.access"):
        exchange.asker().open(other, forged.encode())


@pytest.mark.parametrize("data", [b"", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\4null"])
def test_what_is_no_answer_is_refused(exchange, data):
    assert tampered(exchange, lambda _: data).code == "exchange.format"


def test_an_answer_with_something_behind_it_is_refused(exchange):
    assert tampered(exchange, lambda data: data + b"\0").code == "exchange.format"


def test_attack_a_relayed_answer_is_opened_by_no_other_organisation(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    signed = exchange.asker().prepare(exchange.wish())
    received = exchange.asker().fetch(signed)
    answer = parse_answer(answers[0])
    entry = access_entry_id(received.access.key, received.access.version)
    others = sorted(ROLES.keys() - {ANXIN})
    assert len(others) == 4
    for org_id in others:
        (name, private), *_ = keys_of(org_id).encryption.items()
        for named in (name, signed.request.encryption_key):
            with pytest.raises(VerificationError, match=r"sealing\.authentication"):
                open_release(private, signed.request.hash, entry, named, answer.wraps)
        # Neither under the request that was answered, nor under one of its own.
        with pytest.raises(VerificationError):
            exchange.asker(org_id).open(signed, answers[0])
        with pytest.raises(VerificationError):
            exchange.asker(org_id).open(exchange.asker(org_id).prepare(exchange.wish()), answers[0])


def test_nothing_of_a_record_is_in_an_answer_in_clear(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    exchange.asker().request_release(exchange.wish())
    assert b"Observation" not in answers[0]
    assert exchange.local.encode() not in answers[0]


def test_a_custodian_that_wraps_other_keys_than_its_entry_says_is_refused(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    exchange.asker().request_release(exchange.wish())
    version = parse_answer(answers[0]).access_version
    body = exchange.federation.sites[ANXIN].node.shelf.at(access_key(exchange.grant, RENHE), version)
    row = accesses.read(body.content).accesses[0]
    assert row.wraps_hash == wraps_hash(parse_answer(answers[0]).wraps)


def test_a_request_survives_being_written_and_read(exchange):
    signed = exchange.asker().prepare(exchange.wish(period=Period(1, None), after=7))
    again = parse_request(ReleaseRequest, signed.encode())
    assert isinstance(again, SignedRequest)
    assert again == signed


def test_an_entry_that_never_comes_to_our_ledger_is_refused(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    signed = exchange.asker().prepare(exchange.wish())
    exchange.asker().fetch(signed)
    hasty = Asker(replace(exchange.asker()._parts, wait_s=0.0))  # noqa: SLF001  # the same asker with less patience
    forged = replace(parse_answer(answers[0]), access_version=999)
    with pytest.raises(VerificationError, match=r"exchange\.access"):
        hasty.open(signed, forged.encode())


def test_an_asker_without_the_key_that_it_named_opens_nothing(exchange):
    answers: list[bytes] = []
    exchange.on_answer = lambda data: answers.append(data) or data
    signed = exchange.asker().prepare(exchange.wish())
    exchange.asker().fetch(signed)
    poor = Asker(replace(exchange.asker()._parts, encryption={}))  # noqa: SLF001  # the same asker without its key
    with pytest.raises(VerificationError, match=r"exchange\.wraps"):
        poor.open(signed, answers[0])
    with pytest.raises(UnavailableError, match=r"exchange\.key"):
        poor.prepare(exchange.wish())


def test_a_way_that_stays_lost_is_not_tried_for_ever(exchange):
    signed = exchange.asker().prepare(exchange.wish())
    exchange.federation.down.add(ANXIN)
    with pytest.raises(UnavailableError, match=r"peer\.unreachable"):
        exchange.asker().fetch(signed)
    exchange.federation.down.clear()

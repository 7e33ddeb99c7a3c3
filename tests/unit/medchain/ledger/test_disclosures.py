"""The chain of disclosures under one grant: what is left out, put in or moved is found, by whoever has the head."""

from __future__ import annotations

import pytest

from medchain.encoding import canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.disclosures import open_disclosures, verify_disclosures, write_disclosures
from medchain.ledger.kinds.access import Access
from medchain.ledger.object import Body, StateRecord, build_body
from medchain.ledger.request import access_id, access_key
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import ConsentCase, access_row, accesses, asked_for, request
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, TIME, fresh

CASE = ConsentCase()
CONSENT = CASE.kept_consent()
GRANT = CASE.kept_grant(CONSENT)
KEY = access_key(GRANT.key, RENHE)
REFS = tuple(sorted(Ref(kept.key, kept.version) for kept in (CONSENT, GRANT)))


def body_of(*rows: Access, grant=GRANT, signed=None):
    made, evidence = asked_for(grant, *(rows or (access_row(),)))
    if signed is not None:
        made, evidence = rows, {"requests": [one.to_json() for one in signed]}
    return build_body("access", accesses(grant, CONSENT, *made).to_content(), evidence, fresh)


def chain(*bodies: Body, **changes: object) -> list[StateRecord]:
    """Have a ledger take up a version for each body."""
    records: list[StateRecord] = []
    for number, body in enumerate(bodies, 1):
        values = {
            "kind": "access",
            "creator": RENHE,
            "id": access_id(GRANT.key, RENHE),
            "version": number,
            "status": "active",
            "body_hash": body.body_hash,
            "stop_hash": None,
            "expires": None,
            "refs": REFS,
            "since": 10 * number,
            "previous": records[-1].digest if records else None,
        }
        records.append(StateRecord(**(values | changes)))
    return records


BODIES = [body_of(), body_of(access_row(count=7), access_row(count=1)), body_of()]
RECORDS = chain(*BODIES)


def refusal(records, bodies, grant: bytes = GRANT.key, custodian: str = RENHE) -> tuple[str, object]:
    with pytest.raises(VerificationError) as caught:
        verify_disclosures(grant, custodian, records, bodies)
    return caught.value.code, caught.value.fields.get("version")


def test_a_whole_chain_tells_every_disclosure_in_its_order():
    found = verify_disclosures(GRANT.key, RENHE, RECORDS, BODIES)
    assert [(one.version, one.position, one.recipient) for one in found.listed] == [
        (1, 10, ANXIN),
        (2, 20, ANXIN),
        (2, 20, ANXIN),
        (3, 30, ANXIN),
    ]
    assert [one.access.count for one in found.listed] == [3, 7, 1, 3]
    assert found.to_json()["listed"][1] == {
        **found.listed[1].access.to_json(),
        "position": 20,
        "recipient": ANXIN,
        "version": 2,
    }


def test_where_nothing_was_disclosed_nothing_is_told():
    assert verify_disclosures(GRANT.key, RENHE, [], []).listed == ()


def test_a_destroyed_body_leaves_its_version_in_the_list():
    found = verify_disclosures(GRANT.key, RENHE, RECORDS, [BODIES[0], None, BODIES[2]])
    assert ([one.version for one in found.listed], found.destroyed) == ([1, 3], (2,))


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_attack_a_custodian_that_leaves_an_entry_out(gone):
    left = [body for at, body in enumerate(BODIES) if at != gone]
    assert refusal(RECORDS, left) == ("disclosures.bodies", 3)
    records = [record for at, record in enumerate(RECORDS) if at != gone]
    if gone < 2:
        assert refusal(records, left) == ("disclosures.history", gone + 1)


def test_attack_a_custodian_that_numbers_the_entries_anew_after_leaving_one_out():
    left = chain(BODIES[0], BODIES[2])
    # The head is that of the map: what leads up to it must be the chain that it names.
    assert refusal([left[0], left[1], RECORDS[2]], BODIES) == ("disclosures.history", 3)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_attack_a_custodian_that_moves_entries(order):
    assert refusal(RECORDS, [BODIES[at] for at in order])[0] == "disclosures.body"
    assert refusal([RECORDS[at] for at in order], [BODIES[at] for at in order])[0] == "disclosures.history"


def test_attack_a_custodian_that_puts_an_entry_in():
    more = body_of()
    assert refusal(RECORDS, [*BODIES, more]) == ("disclosures.bodies", 3)
    assert refusal([RECORDS[0], chain(more)[0], *RECORDS[1:]], [BODIES[0], more, *BODIES[1:]])[0] == (
        "disclosures.history"
    )


def test_attack_the_chain_of_another_grant_or_custodian():
    assert refusal(RECORDS, BODIES, grant=b"\x01" * 32) == ("disclosures.history", 1)
    assert refusal(RECORDS, BODIES, custodian=TAIPING) == ("disclosures.history", 1)


def test_attack_a_second_list_hidden_in_a_body():
    part = BODIES[0].redact(["accesses", "consents", "grant"], keep_evidence=True)
    assert refusal(RECORDS, [part, *BODIES[1:]]) == ("disclosures.body", 1)


def test_an_entry_of_another_kind_or_form_is_none():
    other = build_body("grant", BODIES[0].content, None, fresh)
    assert refusal(chain(other), [other]) == ("disclosures.body", 1)
    formless = build_body("access", {"accesses": 1}, None, fresh)
    assert refusal(chain(formless), [formless]) == ("disclosures.body", 1)


def test_an_entry_that_stands_on_another_grant_is_refused():
    another = CASE.kept_grant(CONSENT)
    body = body_of(grant=another)
    assert refusal(chain(body), [body]) == ("disclosures.grant", 1)
    assert refusal(chain(*BODIES, refs=(REFS[0],)), BODIES) == ("disclosures.grant", 1)
    assert refusal(chain(*BODIES, refs=(), status="ended"), BODIES) == ("disclosures.grant", 1)


def test_attack_an_entry_dated_back_behind_its_request():
    signed = request(GRANT, time=TIME)
    row = access_row(request_hash=signed.request.hash, time=TIME - 61)
    body = body_of(row, signed=[signed])
    assert refusal(chain(body), [body]) == ("disclosures.request", 1)


def test_attack_an_entry_for_a_recipient_beside_the_grants():
    signed = [request(GRANT), request(GRANT, pen=TAIPING, recipient=TAIPING)]
    rows = [access_row(request_hash=one.request.hash) for one in signed]
    body = body_of(*rows, signed=signed)
    assert refusal(chain(body), [body]) == ("disclosures.request", 1)


def test_attack_a_request_that_bears_two_releases():
    signed = request(GRANT)
    bodies = [body_of(access_row(request_hash=signed.request.hash, count=n), signed=[signed]) for n in (1, 2)]
    assert refusal(chain(*bodies), bodies) == ("disclosures.repeated", 2)


def test_the_file_is_read_as_it_was_written():
    document = write_disclosures(GRANT.key, RENHE, [BODIES[0], None, BODIES[2]])
    found, _ = open_disclosures(document, KEY, RECORDS)
    assert found == verify_disclosures(GRANT.key, RENHE, RECORDS, [BODIES[0], None, BODIES[2]])


def test_attack_the_absence_of_another_object():
    document = write_disclosures(GRANT.key, RENHE, [])
    assert open_disclosures(document, KEY, [])[0].listed == ()
    with pytest.raises(VerificationError, match=r"disclosures\.history"):
        open_disclosures(document, access_key(b"\x01" * 32, RENHE), [])


@pytest.mark.parametrize(("member", "value"), [("type", "x"), ("custodian", "仁和"), ("bodies", [1]), ("grant", "00")])
def test_what_is_no_such_file_is_refused(member, value):
    document = {"bodies": [], "custodian": RENHE, "grant": GRANT.key.hex(), "type": "medchain/disclosures/v1"}
    with pytest.raises(InputError):
        open_disclosures(canonical(document | {member: value}), KEY, RECORDS)

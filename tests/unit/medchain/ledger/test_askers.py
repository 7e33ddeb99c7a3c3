"""Who asked, judged offline: with the keys that a member listed where the access stands, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.askers import Listing, asked_by, check_askers, open_askers, organisation_key, write_askers
from medchain.ledger.members import organisation_content
from medchain.ledger.object import Body, StateRecord, build_body, organisation_id, public_body_hash
from medchain.ledger.signed_request import sign_request
from medchain.tlog.statemap import MapRoot, prove, update
from tests.unit.medchain.ledger.kinds.case import access_row, accesses, request
from tests.unit.medchain.ledger.test_disclosures import CONSENT, GRANT, chain
from tests.unit.medchain.ledger.world import ANXIN, RENHE, fresh, genesis, key, organisation, seed

EXCHANGED = 15


class Pages(dict):
    def page(self, name):
        return self.get(name)


def versions(org_id: str) -> tuple[list[StateRecord], list]:
    """Exchange a member's authentication key at leaf `EXCHANGED`; its records and contents, the newest first."""
    first = organisation(org_id, "insurer")
    keys = [one for one in first.keys if one.use != "authentication"] + [key(org_id, "authentication", 2)]
    second = replace(first, keys=tuple(sorted(keys, key=lambda one: one.id)))
    records, contents = [], []
    for number, (made, since) in enumerate(((first, 0), (second, EXCHANGED)), 1):
        content = organisation_content(made)
        hashed = public_body_hash("organisation", content)
        before = records[0].digest if records else None
        where = ("organisation", org_id, organisation_id(org_id), number, "active", hashed, None, None, (), since)
        records.insert(0, StateRecord(*where, before))
        contents.insert(0, content)
    return records, contents


def mapped(*org_ids: str) -> tuple[bytes, list[Listing]]:
    """Put members into a map; its root, and what shows them in it."""
    pages, known = Pages(), {org_id: versions(org_id) for org_id in org_ids}
    heads = {organisation_key(org_id): rows[0].digest for org_id, (rows, _) in known.items()}
    changed = update(MapRoot.empty(), heads, pages)
    pages.update(changed.pages)
    root = changed.root
    shown = [Listing(prove(root, organisation_key(one), pages), *known[one]) for one in sorted(known)]
    return root.hash, shown


ROOT, LISTED = mapped(ANXIN, RENHE)
ASKERS = open_askers(write_askers(LISTED), ROOT)


def signed_with(generation: int, pen: str = ANXIN, **changes: object):
    made = replace(request(GRANT).request, **changes)
    return sign_request(Es384Signer(seed(pen, "authentication", generation)), made)


def entry(signed):
    row = replace(access_row(), request_hash=signed.request.hash)
    content = accesses(GRANT, CONSENT, row).to_content()
    return build_body("access", content, {"requests": [signed.to_json()]}, fresh)


def refused_at(*bodies: Body) -> int | None:
    """Return the version whose request is refused; versions stand at leaves 10, 20 and 30."""
    try:
        check_askers(ASKERS, genesis().ledger, chain(*bodies), bodies)
    except VerificationError as error:
        return error.fields["version"] if error.code == "disclosures.signature" else -1
    return None


def test_each_request_counts_under_the_keys_that_were_listed_where_its_access_stands():
    first, second = entry(signed_with(1)), entry(signed_with(2))
    assert refused_at(first, second, second) is None
    assert refused_at(first, first) == 2
    assert refused_at(second) == 1
    assert asked_by([first, None, build_body("access", {"x": 1}, None, fresh)]) == [ANXIN]


def test_attack_a_request_that_the_recipient_did_not_sign_for_this_ledger():
    assert refused_at(entry(replace(signed_with(1), signature=bytes(96)))) == 1
    assert refused_at(entry(signed_with(1, pen=RENHE))) == 1
    assert refused_at(entry(signed_with(1, recipient="taiping-insurance"))) == 1
    assert refused_at(entry(signed_with(1, ledger=bytes(32)))) == 1


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda row, _: row | {"contents": row["contents"][::-1]}, "askers.content"),
        (lambda row, other: row | {"contents": other["contents"]}, "askers.content"),
        (lambda row, _: row | {"contents": row["contents"][:1], "records": row["records"][:1]}, "askers.history"),
        (lambda row, _: row | {"contents": row["contents"][1:], "records": row["records"][1:]}, "askers.history"),
        (lambda row, other: row | {"records": other["records"]}, "askers.history"),
        (lambda row, other: row | {"map": other["map"]}, "askers.history"),
        (lambda row, other: row | {"map": row["map"] | {"proof": other["map"]["proof"]}}, "tlog.map_proof"),
        (lambda row, _: row | {"records": [], "contents": []}, "askers.malformed"),
        (lambda row, _: row | {"records": [*row["records"], row["records"][0]]}, "askers.malformed"),
    ],
)
def test_attack_keys_that_the_recipient_did_not_list_or_not_then(spoil, code):
    rows = parse_canonical(write_askers(LISTED), max_bytes=1 << 20)["askers"]
    with pytest.raises(MedchainError) as caught:
        open_askers(canonical({"askers": [spoil(*rows)], "type": "medchain/askers/v1"}), ROOT)
    assert caught.value.code == code


def listed_as(records: list[StateRecord], contents: list, name: bytes) -> None:
    """Put versions into a map under a name, and open what shows them there."""
    pages = Pages()
    changed = update(MapRoot.empty(), {name: records[0].digest}, pages)
    pages.update(changed.pages)
    listing = Listing(prove(changed.root, name, pages), records, contents)
    open_askers(write_askers([listing]), changed.root.hash)


def test_attack_versions_of_one_member_under_the_name_of_another():
    records, contents = versions(ANXIN)
    listed_as(records, contents, organisation_key(ANXIN))
    with pytest.raises(VerificationError, match=r"askers\.history"):
        listed_as(records, contents, organisation_key(RENHE))
    # The record is the other one's, the content is not.
    where = ("organisation", RENHE, organisation_id(RENHE), 1, "active", records[1].body_hash, None, None, (), 0)
    with pytest.raises(VerificationError, match=r"askers\.content"):
        listed_as([StateRecord(*where, None)], contents[1:], organisation_key(RENHE))


def test_one_row_a_member_in_their_order_and_of_this_type():
    for listed in (LISTED[::-1], [LISTED[0], LISTED[0]]):
        with pytest.raises(InputError, match=r"askers\.malformed"):
            open_askers(write_askers(listed), ROOT)
    for document in ({"askers": {}, "type": "medchain/askers/v1"}, {"askers": [], "type": "x"}):
        with pytest.raises(MedchainError):
            open_askers(canonical(document), ROOT)

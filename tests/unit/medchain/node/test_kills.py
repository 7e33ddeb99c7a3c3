"""A node that is killed at any write of a deed, before or after that is on the disk, and asked for the same again.

What is on the disk binds; what is not was never done; and nothing stands on the ledger twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest

from medchain.errors import UnavailableError
from medchain.node.ending import Ending
from tests.unit.medchain.node.desks import Desks, phone_of
from tests.unit.medchain.node.federation import COMMISSION, DAY_S, RENHE, TONGJI
from tests.unit.medchain.node.lawful import lawful_desks
from tests.unit.medchain.node.lawful import terms as mandate_terms
from tests.unit.medchain.node.test_subject_changes import STAFF, Someone, announced, credential, one

_NUMBERS = count(1)
# An endorser has promised its signature to the attempt that was cut off: until that is over it gives no other.
PROMISED_S = 200
TURNS = 300


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with lawful_desks(tmp_path_factory.mktemp("kills")) as made:
        yield made


@dataclass
class Case:
    """A deed of one node, what it is about, and what shows that it is done.

    Attributes:
        org_id: whose node is killed.
        act: does it.
        is_done: tells whether this node takes it for done.
        key: map key of what it changes, hexadecimal.
        version: at which that is on the ledger then.
        holders: who must know how it ended; none where nothing ends.
    """

    org_id: str
    act: Callable[[], object]
    is_done: Callable[[], bool]
    key: Callable[[], str]
    version: int
    holders: tuple[str, ...] = ()


def period(desks: Desks) -> dict[str, int]:
    return {"end": desks.federation.time + 30 * DAY_S, "start": desks.federation.time - 10}


def cancelling(desks: Desks, name: str) -> Case:
    person, local = Someone(desks, name, custodians=[TONGJI]), desks.local
    key = announced(desks, person, phone_of(f"{name}-thief"))

    def cancel() -> None:
        draft = local(TONGJI).call("recovery.draft-cancel", {"recovery": key})
        local(TONGJI).call("recovery.cancel", one(draft, person.phone))

    def is_done() -> bool:
        return desks.federation.sites[TONGJI].node.stops.is_stopped(bytes.fromhex(key))

    return Case(TONGJI, cancel, is_done, lambda: key, 2, (RENHE, TONGJI))


def announcement(desks: Desks, name: str) -> Case:
    person, phone = Someone(desks, name, custodians=[TONGJI]), phone_of(f"{name}-new")
    asked = {"credentials": [credential(phone)], "method": "identity-card", "staff": STAFF, "subject": person.key}

    def announce() -> None:
        desks.local(TONGJI).call("recovery.announce", asked)

    def keys() -> list[str]:
        return [row["key"] for row in person.show()["recoveries"]]

    return Case(TONGJI, announce, lambda: len(keys()) == 1, lambda: keys()[0], 1)


def recovery(desks: Desks, name: str) -> Case:
    person = Someone(desks, name, custodians=[TONGJI])
    key = announced(desks, person, phone_of(f"{name}-new"))
    desks.federation.time += 7 * DAY_S

    def is_done() -> bool:
        return desks.federation.sites[RENHE].ledger.record(bytes.fromhex(person.key)).version == 2

    def carry_out() -> None:
        desks.local().call("recovery.carry-out", {"recovery": key})

    return Case(RENHE, carry_out, is_done, lambda: person.key, 2)


def mandate(desks: Desks, name: str) -> Case:
    def issued() -> list[str]:
        rows = desks.local(COMMISSION).call("mandate.list", {})["mandates"]
        return [str(row["key"]) for row in rows if row["content"]["patient"] == name]

    def issue() -> None:
        desks.local(COMMISSION).call("mandate.issue", mandate_terms(name, period=period(desks)))

    return Case(COMMISSION, issue, lambda: len(issued()) == 1, lambda: issued()[0], 1)


DEEDS = {"announcement": announcement, "cancelling": cancelling, "recovery": recovery, "mandate": mandate}


def until(desks: Desks, is_so: Callable[[], bool]) -> None:
    """Let all nodes do what they do by themselves until something holds."""
    for _ in range(TURNS):
        for site in desks.federation.sites.values():
            site.node.stops.settle()
            site.node.driver.outbox.step()
            site.node.deliveries.round()
        if is_so():
            return
        desks.federation.wait()
    pytest.fail("never")


def ask_again(desks: Desks, case: Case) -> None:
    """Ask for the same until it is done, as a person does who was not answered."""
    for _ in range(3):
        if case.is_done():
            return
        try:
            case.act()
        except UnavailableError:
            desks.federation.time += PROMISED_S
            desks.federation.wait()
    assert case.is_done()


@pytest.mark.parametrize("name", DEEDS)
def test_a_node_killed_at_any_write_does_it_once_when_it_is_asked_again(desks, name):
    step, is_over = 0, False
    while not is_over:
        step += 1
        for is_kept in (False, True):
            case = DEEDS[name](desks, f"{name}-{next(_NUMBERS)}")
            with desks.federation.killed_at(case.org_id, step, is_kept=is_kept) as seen:
                case.act()
                is_over = True
            if is_over:
                assert step > len(seen) > 1
                return
            desks.federation.crash(case.org_id)
            desks.put_together(case.org_id)
            ask_again(desks, case)
            check(desks, case)


def check(desks: Desks, case: Case) -> None:
    """See that it stands on the ledger once, and that whoever holds it knows how it ended."""
    key, sites = bytes.fromhex(case.key()), desks.federation.sites

    def is_everywhere() -> bool:
        found = [site.ledger.record(key) for site in sites.values()]
        return all(record is not None and record.version >= case.version for record in found)

    until(desks, is_everywhere)
    assert next(record.version for record in sites[RENHE].ledger.history(key)) == case.version
    for org_id in case.holders:
        # The patient's signature comes later where a kill has lost the notice.
        desks.federation.time += PROMISED_S
        until(desks, lambda org_id=org_id: sites[org_id].node.stops.ending(key).how is Ending.PATIENT)

"""What a suspended member may call: nothing but what its suspension waits for, and stops of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.errors import AccessDeniedError, InputError, UnavailableError
from medchain.ledger.members import ACTIVE, REMOVED, SUSPENDED, Members, ProtocolRules, organisation_content
from medchain.ledger.object import STOPPED
from medchain.ledger.transaction import parse_envelope
from medchain.node.directory import MembersDirectory
from medchain.node.peer_auth import PeerRequest, PeerVerifier, body_hash
from medchain.node.suspended import MAX_STOPS, WINDOW_S, SuspendedStops
from medchain.ordering.block import submission
from medchain.web.daemon import peer_routes
from medchain.web.peer import session_routes
from medchain.web.routing import Router
from tests.consortium import Consortium
from tests.unit.medchain.ledger.world import ROLES, World, organisation_key, sign
from tests.unit.medchain.node.federation import COMMISSION, RENHE, TONGJI, Federation, Patient
from tests.unit.medchain.node.test_peer_auth import INSURER, LEDGER, POLICY, organisation
from tests.unit.medchain.node.test_peer_auth import World as Doors
from tests.unit.medchain.node.test_peer_session import HEADER, PLACE, OwnSessions
from tests.unit.medchain.web.test_routes import call, healthy, ordering, parts

__all__ = ["healthy", "ordering", "parts"]

COSIGNING = {"ordering.blocks", "ordering.round", "ordering.checkpoint", "ordering.cosign"}
TARGETS = {"log.tile": "/log/tile/0/000"}


class Door(Doors):
    """A hospital's routes, and an insurer of whom the members think otherwise since the last final block."""

    def __init__(self, parts) -> None:
        """Begin with an active insurer."""
        super().__init__()
        self.before = ACTIVE
        self.directory = MembersDirectory(lambda: self.members(None), lambda: [self.members(self.before)])
        self.verifier = PeerVerifier("hospital", LEDGER, self.directory, self.durable, lambda: self.now)
        self.router = Router("peer", [*peer_routes(parts), *session_routes(self.verifier)], peers=self.verifier)

    def members(self, status: str | None) -> Members:
        rows = self.organisations if status is None else {"insurer": organisation("insurer", INSURER, status)}
        return Members(rows, POLICY, ProtocolRules("insurer", 1, 1))

    def turn(self, status: str, *, is_final: bool) -> None:
        """Have the members suspend the insurer, or remove it."""
        self.organisations = {"insurer": organisation("insurer", INSURER, status)}
        self.before = status if is_final else ACTIVE

    def status(self, name: str, body: bytes = b"", credential: str | None = None) -> int:
        """Call a route; returns the status of the answer."""
        route = next(route for route in self.router.routes if route.name == name)
        target = TARGETS.get(name, route.pattern)
        if credential is None:
            made = self.signer().assertion("hospital", PeerRequest(route.method, target, body))
            credential = f"MedChain-Peer {made}"
        return call(self.router, route.method, target, body, authorization=credential).status

    def let_in(self) -> set[str]:
        """Name the routes that let the insurer in."""
        names = {route.name for route in self.router.routes} - {"healthz", "readyz"}
        return {name for name in names if self.status(name) != 401}


@pytest.fixture
def door(parts):
    return Door(parts)


@pytest.mark.parametrize(
    ("status", "is_final", "routes"),
    [
        (SUSPENDED, False, COSIGNING | {"ordering.submit", "session"}),
        (SUSPENDED, True, {"ordering.submit", "session"}),
        (REMOVED, False, COSIGNING | {"session"}),
        (REMOVED, True, set()),
    ],
)
def test_attack_a_suspended_member_tries_every_route(door, status, is_final, routes):
    everything = door.let_in()
    door.turn(status, is_final=is_final)
    assert door.let_in() - {"session"} == routes - {"session"}
    # What is no session's document is refused as that, by who lets the caller in.
    assert (door.status("session") == 400) == ("session" in routes)
    assert routes < everything


def test_attack_it_tries_the_same_in_a_session_that_it_opened_as_a_member(door):
    own = OwnSessions("insurer", door.signer().audience, lambda: door.now)
    own.offer("hospital", PLACE, HEADER["kid"], lambda made: door.verifier.open_session("insurer", HEADER["kid"], made))

    def status(name: str, method: str, target: str) -> int:
        code = own.credential("hospital", PLACE, method, target, body_hash(b""))
        return door.status(name, credential=f"MedChain-Session {code}")

    door.turn(SUSPENDED, is_final=False)
    assert status("endorse", "POST", "/endorse") == 401
    assert status("ordering.checkpoint", "GET", "/ordering/checkpoint") == 200
    door.turn(SUSPENDED, is_final=True)
    assert status("ordering.checkpoint", "GET", "/ordering/checkpoint") == 401
    door.turn(ACTIVE, is_final=True)
    assert status("ordering.checkpoint", "GET", "/ordering/checkpoint") == 200


def test_attack_a_suspension_becomes_final_while_the_body_comes(door):
    door.turn(SUSPENDED, is_final=False)
    route = next(route for route in door.router.routes if route.name == "ordering.cosign")
    made = door.signer().assertion("hospital", PeerRequest("POST", "/ordering/cosign", b""))
    claim = door.verifier.begin(made, "POST", "/ordering/cosign", frozenset({"leaving"}))
    door.turn(SUSPENDED, is_final=True)
    with pytest.raises(AccessDeniedError, match=r"peer_auth\.unknown"):
        door.verifier.finish(claim, b"")
    assert route.max_bytes


def test_attack_it_submits_what_is_no_stop_or_not_its_own_and_nothing_is_ordered(door, ordering):
    with Consortium(2) as two:
        own, anchor, others = two.narrow("org-1"), two.anchor("org-1"), two.narrow("org-0")
    named = replace(parse_envelope(own).transaction, creator="insurer")
    mine = two.sign(named)
    door.turn(SUSPENDED, is_final=True)
    for leaves in ([anchor], [mine, anchor], [others], [mine, others]):
        assert door.status("ordering.submit", submission(leaves)) == 403
    assert door.status("ordering.submit", submission([b"no envelope"])) == 400
    assert ordering.asked == []
    assert door.status("ordering.submit", submission([mine])) == 200
    assert ordering.asked == [[mine]]
    door.turn(ACTIVE, is_final=True)
    assert door.status("ordering.submit", submission([anchor, others])) == 200


def test_attack_it_floods_the_orderer_with_stops_and_another_suspended_member_is_not_held_up():
    with Consortium(2) as two:
        flood, other = [two.narrow("org-0")] * MAX_STOPS, two.narrow("org-1")
    now = [100.0]
    stops = SuspendedStops(lambda: now[0])
    with pytest.raises(UnavailableError) as too_many:
        stops.check("org-0", [*flood, flood[0]])
    assert (too_many.value.code, too_many.value.retry_after_s) == ("ordering.quota", WINDOW_S)
    stops.check("org-0", flood)
    now[0] += 20
    with pytest.raises(UnavailableError) as again:
        stops.check("org-0", flood[:1])
    assert (again.value.code, again.value.retry_after_s) == ("ordering.quota", WINDOW_S - 20)
    stops.check("org-1", [other])
    now[0] += WINDOW_S - 20
    stops.check("org-0", flood)


def test_what_is_refused_for_what_it_is_uses_nothing_up():
    with Consortium(2) as two:
        anchor, stop = two.anchor("org-0"), two.narrow("org-0")
    stops = SuspendedStops(lambda: 0.0)
    for _ in range(MAX_STOPS):
        with pytest.raises(AccessDeniedError):
            stops.check("org-0", [anchor])
        with pytest.raises(InputError):
            stops.check("org-0", [b"x"])
    stops.check("org-0", [stop] * MAX_STOPS)


def suspend(federation: Federation, org_id: str) -> None:
    """Have all others suspend an organisation, and wait until that is final with them."""
    others = [name for name in ROLES if name != org_id]
    ledger = federation.sites[COMMISSION].ledger
    changed = replace(ledger.members.organisations[org_id], status=SUSPENDED)
    world = World(members=ledger.members, height=ledger.head.height + 1, time=federation.time)
    world.records = {record.key: record for record in ledger.history(organisation_key(org_id))[:1]}
    content = organisation_content(changed)
    leaf = sign(world.public(others[0], ("organisation", content), signers=others[1:])).leaf
    [outcome] = federation.sites[COMMISSION].node.driver.submit([leaf])
    assert not hasattr(outcome, "code"), outcome
    for name in others:
        site = federation.sites[name]
        while site.ledger.final_members().organisations[org_id].status == ACTIVE:
            federation.wait()


def test_a_withdrawal_that_only_a_suspended_member_has_heard_of_comes_to_the_ledger(tmp_path):
    federation = Federation(tmp_path)
    federation.start()
    try:
        patient = Patient(federation)
        submitter = federation.sites[RENHE].node.submitter
        submitter.submit(patient.subject((RENHE, TONGJI)))
        done = submitter.submit(patient.consent((RENHE, TONGJI)))
        for site in federation.sites.values():
            site.node.submitter.wait_final(done.key, 1, 60)
        suspend(federation, TONGJI)
        site = federation.sites[TONGJI]
        evidence = patient.withdrawal(done.key, 2, done.record.digest)
        site.node.stops.stop(done.key, evidence)
        # Those who would not hear its notice have it from the ledger.
        while federation.sites[RENHE].ledger.record(done.key).status != STOPPED:
            site.node.driver.outbox.step()
            federation.wait()
        assert federation.sites[RENHE].ledger.record(done.key).body_hash == evidence.body_hash
        # It does not see that, and asks again, now and then.
        assert site.ledger.record(done.key).status == ACTIVE
        asked = []
        site.node.stops._queue = asked.append  # noqa: SLF001  # what it queues
        for second in range(121):
            federation.time += 1
            site.node.stops.settle()
            assert len(asked) <= second // 60 + 1
        assert asked
    finally:
        federation.stop()

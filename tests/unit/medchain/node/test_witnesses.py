"""Outside witnesses: what is shown to them, what is believed of their answers, and what hostile ones can do."""

from __future__ import annotations

import base64
import http.server
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.errors import NotFoundError, VerificationError
from medchain.node import witnesses
from medchain.node.config import Tls
from medchain.node.replica import Replica
from medchain.node.witness_file import OutsideWitness
from medchain.node.witnesses import (
    DISPUTED,
    INTERVAL_S,
    MAX_PAUSE_S,
    RENEW_S,
    WitnessClient,
    Witnesses,
    log_report,
)
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.notes import StoredCheckpoint
from medchain.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, sign_checkpoint
from medchain.tlog.merkle import MAX_SIZE, Frontier, leaf_hash
from medchain.tlog.note import MAX_SIGNATURES, KeyType, Signature, VerifierKey, parse_note
from medchain.tlog.tiles import consistency_proof, tiles_for_append
from medchain.tlog.witness import (
    Accepted,
    Conflict,
    WitnessState,
    parse_add_checkpoint,
    witness_decide,
)
from tests.unit.medchain.ledger.world import COMMISSION, ROLES, TIME, genesis
from tests.unit.medchain.node.ledgers import Author, block_of, pen, replica_on
from tests.unit.medchain.node.test_peers import (
    announce_a_gibibyte,
    answering,
    hang,
    listening,
    response,
    send_without_end,
    trickle_body,
    trickle_head,
)
from tests.unit.medchain.node.test_replica import cosigned
from tests.unit.medchain.web.test_tls import certify
from tests.waiting import eventually

ORIGIN = "log.example/ledger"
LOG, MEMBER = Ed25519Signer(b"l" * 32), MlDsa44Signer(b"m" * 32)
ED, PQ = Ed25519Signer(b"e" * 32), MlDsa44Signer(b"p" * 32)
NAME = "outside.example/w1"
ED_KEY = VerifierKey(NAME, KeyType.COSIGNATURE_ED25519, ED.public)
PQ_KEY = VerifierKey(NAME, KeyType.COSIGNATURE_MLDSA44, PQ.public)


@dataclass
class GrownLog:
    """A log of which each growth is final at once; with a store it is `medchain.node.replica.Replica`."""

    leaves: list[bytes] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    outside: dict[int, tuple[Signature, ...]] = field(default_factory=dict)

    def grow(self, count: int = 1) -> int:
        """Append leaves, and return the size."""
        self.leaves += [b"leaf %d" % (len(self.leaves) + number) for number in range(count + 1)]
        self.ends.append(len(self.leaves))
        return len(self.leaves)

    @property
    def head(self) -> Checkpoint:
        """The newest checkpoint."""
        return Checkpoint(ORIGIN, len(self.leaves), Frontier.empty().append(self._hashes()).root())

    def final(self) -> StoredCheckpoint | None:
        """Give it with the log's line and one of a member."""
        if not self.leaves:
            return None
        note = sign_checkpoint(self.head, LOG).add([cosign(self.head, "member.example/pq", MEMBER, TIME)])
        return StoredCheckpoint(self.head.size, TIME, final=True, pinned=False, note=note.to_bytes().decode())

    def prove_growth(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Prove it, as `Replica.prove_growth` does."""
        if old_size not in self.ends:
            raise NotFoundError("store.block")
        return tuple(consistency_proof(old_size, size or len(self.leaves), self))

    def put_outside_lines(self, size: int, lines: Sequence[Signature]) -> None:
        """Remember them."""
        self.outside[size] = tuple(lines)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Give a tile."""
        return tiles_for_append(0, self._hashes(), self)[level, index][: width * 32]

    def kept(self) -> tuple[Signature, ...]:
        """Give the lines kept with the newest checkpoint."""
        return self.outside.get(len(self.leaves), ())

    def _hashes(self) -> list[bytes]:
        return [leaf_hash(leaf) for leaf in self.leaves]


@pytest.fixture
def log():
    return GrownLog()


@pytest.fixture
def replica(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


@pytest.fixture
def author(replica):
    return Author(replica=replica)


def final_block(author: Author) -> int:
    """Make a block, have everybody cosign it, and return the size."""
    replica = author.replica
    block = block_of(replica, author.anchor())
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    return replica.size


@dataclass
class Now:
    """A clock that a test moves."""

    time: int = TIME + 20

    def __call__(self) -> int:
        return self.time


@dataclass
class Service:
    """A witness by the rules of C2SP tlog-witness, and what a test has it answer instead."""

    log_key: VerifierKey
    clock: Now
    state: WitnessState = field(default_factory=WitnessState.initial)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    instead: list[tuple[int, bytes]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        self.requests.append((path, body))
        if self.instead:
            return self.instead.pop(0)
        match witness_decide(self.state, parse_add_checkpoint(body), [self.log_key]):
            case Accepted(state, checkpoint):
                self.state = state
                return 200, self.lines(checkpoint)
            case Conflict(size, _):
                return 409, b"%d\n" % size
            case refused:
                return refused.status, b"no\n"

    def lines(self, checkpoint: Checkpoint, *, ahead: int = 0) -> bytes:
        lines = [cosign(checkpoint, NAME, signer, self.clock() + ahead).line() for signer in (ED, PQ)]
        return "".join(lines).encode()


@contextmanager
def serving(service: Service, tls: Tls | None = None) -> Iterator[Service]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body = service.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    service.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock():
    return Now()


@pytest.fixture
def service(clock):
    with serving(Service(VerifierKey(ORIGIN, KeyType.ED25519, LOG.public), clock)) as running:
        yield running


@pytest.fixture
def client(log, service, clock):
    made = client_of(log, service.url + "/prefix", clock)
    yield made
    made.close()


def client_of(log: GrownLog, url: str, clock: Now) -> WitnessClient:
    return WitnessClient(OutsideWitness("outside", url, (ED_KEY, PQ_KEY)), log, log.final, clock)


def test_a_witness_is_shown_the_final_checkpoint_and_its_lines_are_kept(log, service, client):
    assert client.turn() == INTERVAL_S
    assert service.requests == []
    size = log.grow()
    assert client.turn() == INTERVAL_S
    ((path, body),) = service.requests
    assert path == "/prefix/add-checkpoint"
    request = parse_add_checkpoint(body)
    note = parse_note(request.checkpoint)
    assert (request.old_size, request.proof, parse_checkpoint(note.text).size) == (0, (), size)
    # The log's own line and no other: a member's two are 3.6 KiB, and some witnesses take 10 KiB at most.
    assert [line.name for line in note.signatures] == [ORIGIN]
    assert {line.key_id for line in log.kept()} == {ED_KEY.key_id, PQ_KEY.key_id}
    assert (client.standing.size, client.standing.time, client.standing.code) == (size, TIME + 20, "")


def test_a_witness_is_asked_over_tls_where_its_certificate_comes_from_the_authorities_named(log, clock, tmp_path):
    size, own = log.grow(), certify(tmp_path, "own", "127.0.0.1")
    other = certify(tmp_path, "other", "127.0.0.1")
    known = Service(VerifierKey(ORIGIN, KeyType.ED25519, LOG.public), clock)
    with serving(known, own) as service:
        # None are those of the system, which has never heard of it.
        for ca, code in ((own.certificate, ""), (other.certificate, "peer.unreachable"), (None, "peer.unreachable")):
            outside = Witnesses.of(
                [OutsideWitness("outside", service.url, (ED_KEY, PQ_KEY))], log, log.final, clock, ca
            )
            (client,) = outside.clients
            client.turn()
            outside.close()
            assert (client.standing.code, client.standing.size) == (code, 0 if code else size)
    assert len(known.requests) == 1


def test_growth_is_proven_from_what_the_witness_has_seen(log, service, client):
    first = log.grow()
    client.turn()
    second = log.grow(5)
    client.turn()
    request = parse_add_checkpoint(service.requests[-1][1])
    assert (request.old_size, service.state.size) == (first, second)
    assert len(request.proof) > 0


def test_a_node_that_forgot_asks_the_witness_where_it_is(log, service, client, clock):
    first = log.grow()
    client.turn()
    log.grow(3)
    again = client_of(log, service.url, clock)
    again.turn()
    assert [parse_add_checkpoint(body).old_size for _, body in service.requests[1:]] == [0, first]
    assert again.standing.code == ""
    assert len(log.kept()) == 2
    again.close()


def test_the_same_checkpoint_is_shown_again_after_a_while_for_newer_lines(log, service, client, clock):
    log.grow()
    client.turn()
    clock.time += 5
    client.turn()
    assert len(service.requests) == 1
    clock.time += int(RENEW_S)
    client.turn()
    assert len(service.requests) == 2
    times = {int.from_bytes(line.data[:8], "big") for line in log.kept()}
    assert times == {clock.time}


def test_a_witness_with_another_root_of_that_size_disputes(log, service, client):
    log.grow()
    client.turn()
    size = log.grow()
    service.state = WitnessState(size, bytes(32))
    pause = client.turn()
    assert (client.standing.code, client.is_disputed, pause) == (DISPUTED, True, 2 * INTERVAL_S)
    assert Witnesses((client,)).reasons() == (DISPUTED,)


def test_a_witness_with_another_root_of_an_earlier_size_disputes(log, service, client):
    first = log.grow()
    client.turn()
    service.state = WitnessState(first, bytes(32))
    log.grow()
    client.turn()
    assert client.standing.code == DISPUTED


def test_a_witness_at_a_size_that_was_never_final_disputes(log, service, client):
    log.grow(3)
    service.instead = [(409, b"3\n")]
    client.turn()
    assert client.standing.code == DISPUTED


def test_a_dispute_is_over_when_the_witness_cosigns_again(log, service, client):
    log.grow()
    service.instead = [(422, b"")]
    client.turn()
    assert client.is_disputed
    client.turn()
    assert (client.standing.code, client.is_disputed) == ("", False)


def test_a_witness_that_is_ahead_is_asked_again_and_again(log, service, client):
    size = log.grow()
    service.instead = [(409, b"%d\n" % MAX_SIZE)]
    client.turn()
    assert (client.standing.code, client.standing.size) == ("witness.ahead", 0)
    client.turn()
    assert (client.standing.code, client.standing.size) == ("", size)
    assert [parse_add_checkpoint(body).old_size for _, body in service.requests] == [0, 0]


def test_a_witness_that_was_put_back_is_told_before_it_goes_on(log, service, client):
    """Its folder was restored from a copy: of all that it has signed since, it knows nothing."""
    log.grow()
    client.turn()
    before = service.state
    log.grow()
    client.turn()
    service.state = before
    size = log.grow()
    assert client.turn() == 2 * INTERVAL_S
    assert client.standing.code == "witness.went_back"
    client.turn()
    assert (client.standing.code, client.standing.size) == ("", size)


def test_a_witness_that_was_put_back_and_shown_another_history_disputes(log, service, client):
    first = log.grow()
    log.grow()
    client.turn()
    service.state = WitnessState(first, bytes(32))
    log.grow()
    codes = [client.turn() and client.standing.code for _ in range(2)]
    assert codes == ["witness.went_back", DISPUTED]


def test_a_witness_that_moves_on_while_it_is_asked_is_asked_later(log, service, client):
    first = log.grow()
    second = log.grow()
    log.grow()
    service.instead = [(409, b"%d\n" % first), (409, b"%d\n" % second)]
    client.turn()
    assert client.standing.code == "witness.moved"
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "witness.request"),
        (401, "witness.log_key"),
        (403, "witness.log_key"),
        (404, "witness.unknown_log"),
        (405, "peer.failed"),
        (422, DISPUTED),
        (429, "peer.failed"),
        (500, "peer.failed"),
        (503, "peer.busy"),
        (302, "peer.redirect"),
    ],
)
def test_each_refusal_has_its_code(log, service, client, status, code):
    log.grow()
    service.instead = [(status, b"no")]
    client.turn()
    assert client.standing.code == code
    assert log.kept() == ()


def test_a_refusal_in_our_own_words_is_not_repeated(log, service, client):
    log.grow()
    service.instead = [(503, b'{"code":"store.corrupt"}')]
    client.turn()
    assert client.standing.code == "witness.failed"


@pytest.mark.parametrize("body", [b"", b"-1\n", b"01\n", b"9" * 40, b"1\n1\n", b"\xff\n", b"one\n"])
def test_a_conflict_without_a_size_is_no_answer(log, service, client, body):
    log.grow()
    service.instead = [(409, body)]
    client.turn()
    assert client.standing.code == "witness.answer"


@pytest.mark.parametrize("body", [b"", b"\n", b"\xff\n", b"not a line\n", b"\xe2\x80\x94 name !\n"])
def test_an_answer_without_lines_is_none(log, service, client, body):
    log.grow()
    service.instead = [(200, body)]
    client.turn()
    assert client.standing.code == "witness.answer"
    assert log.kept() == ()


def test_lines_of_unknown_keys_are_ignored_and_alone_are_not_enough(log, service, client):
    log.grow()
    stranger = cosign(log.head, "stranger.example/w", ED, TIME + 20).line().encode()
    service.instead = [(200, stranger + service.lines(log.head))]
    client.turn()
    assert client.standing.code == ""
    assert len(log.kept()) == 2
    service.instead = [(200, stranger)]
    log.grow()
    client.turn()
    assert client.standing.code == "witness.unknown_key"


def test_a_line_on_something_else_is_refused_whole(log, service, client):
    log.grow()
    other = replace(log.head, root=bytes(32))
    mixed = service.lines(log.head).split(b"\n")[0] + b"\n" + service.lines(other).split(b"\n")[1] + b"\n"
    service.instead = [(200, mixed)]
    client.turn()
    assert client.standing.code == "tlog.cosignature"
    assert log.kept() == ()


@pytest.mark.parametrize("ahead", [-301, 301])
def test_a_line_of_another_time_is_refused(log, service, client, ahead):
    log.grow()
    service.instead = [(200, service.lines(log.head, ahead=ahead))]
    client.turn()
    assert client.standing.code == "witness.time"
    assert log.kept() == ()


@pytest.mark.parametrize("behave", [hang, trickle_head, trickle_body, send_without_end, announce_a_gibibyte])
def test_a_witness_that_takes_time_or_memory_is_left(log, clock, behave, monkeypatch):
    monkeypatch.setattr(witnesses, "LIMITS", replace(witnesses.LIMITS, timeout_s=0.5))
    log.grow()
    with listening(behave) as url:
        client = client_of(log, url, clock)
        client.turn()
        assert client.standing.code in {"peer.timeout", "peer.too_large"}
        client.close()


def test_pauses_double_up_to_a_limit_and_a_witness_may_ask_for_more(log, clock):
    log.grow()
    client = client_of(log, "http://127.0.0.1:1", clock)
    assert [client.turn() for _ in range(3)] == [2 * INTERVAL_S, 4 * INTERVAL_S, 8 * INTERVAL_S]
    assert [client.turn() for _ in range(9)][-1] == MAX_PAUSE_S
    assert client.standing.code == "peer.unreachable"
    with listening(answering(response("503 Busy", b"", "Retry-After: 77"))) as url:
        busy = client_of(log, url, clock)
        assert busy.turn() == 77
        busy.close()
    client.close()


def test_a_disk_that_fails_costs_a_turn(log, service, clock):
    def broken() -> None:
        raise VerificationError("store.corrupt")

    client = WitnessClient(OutsideWitness("outside", service.url, (ED_KEY,)), log, broken, clock)
    assert client.turn() == 2 * INTERVAL_S
    assert client.standing.code == "witness.failed"


def test_each_witness_has_a_job_of_its_own_that_ends_when_told(log, service, clock, monkeypatch):
    monkeypatch.setattr(witnesses, "START_S", 0.01)
    monkeypatch.setattr(witnesses, "INTERVAL_S", 0.01)
    size = log.grow()
    with listening(hang) as url:
        hanging, good = OutsideWitness("hanging", url, (PQ_KEY,)), OutsideWitness("good", service.url, (ED_KEY,))
        both = Witnesses.of((hanging, good), log, log.final, clock)
        stop = threading.Event()
        threads = [threading.Thread(target=job.run, args=(stop,), daemon=True) for job in both.jobs()]
        for thread in threads:
            thread.start()
        assert eventually(lambda: both.clients[1].standing.size == size)
        stop.set()
        threads[1].join(60)
        assert not threads[1].is_alive()
        assert [row["name"] for row in both.report()] == ["hanging", "good"]
        assert both.report()[1] == {
            "code": "",
            "keys": [str(ED_KEY)],
            "name": "good",
            "size": size,
            "time": clock(),
            "url": service.url,
        }
        both.close()


# The replica's side


def head_of(replica: Replica) -> Checkpoint:
    return parse_checkpoint(parse_note(replica.store.final().note.encode()).text)


def outside_of(replica: Replica) -> list[Signature]:
    note = parse_note(replica.store.final().note.encode())
    return [line for line in note.signatures if line.name == NAME]


@pytest.fixture
def shown(replica, clock):
    """Show the replica's log to a witness that knows its key."""
    orderer = replica.members.organisations[COMMISSION]
    log_key = VerifierKey(genesis().origin, KeyType.ED25519, orderer.key("log").public)
    with serving(Service(log_key, clock)) as service:
        client = WitnessClient(OutsideWitness("outside", service.url, (ED_KEY,)), replica, replica.store.final, clock)
        yield service, client
        client.close()


def test_a_replica_shows_what_is_final_and_keeps_the_lines(replica, author, shown):
    service, client = shown
    size = final_block(author)
    block_of(replica, author.anchor())
    client.turn()
    assert client.standing.code == ""
    assert service.state.size == size < replica.size
    assert len(outside_of(replica)) == 1
    final_block(author)
    client.turn()
    assert (client.standing.size, client.standing.code) == (replica.size, "")
    assert replica.store.final().final


def test_members_lines_that_come_later_leave_the_outside_ones(replica, author, shown):
    final_block(author)
    shown[1].turn()
    checkpoint = replica.blocks(replica.height, 1)[0].checkpoint
    replica.put_note(cosigned(checkpoint, *ROLES, time=TIME + 40))
    assert len(outside_of(replica)) == 1
    assert replica.store.final().time == TIME + 40


def test_the_keys_to_be_told_to_a_witness_begin_with_the_orderers(replica):
    report = log_report(replica.store)
    assert (report["origin"], report["orderer"]) == (genesis().origin, COMMISSION)
    assert [row["org_id"] for row in report["keys"]] == [COMMISSION, *sorted(set(ROLES) - {COMMISSION})]
    block = block_of(replica, Author(replica=replica).anchor())
    (line,) = parse_note(block.checkpoint.encode()).signatures
    typed = base64.b64decode(report["keys"][0]["key"].split("+", 2)[2])
    assert pen()(parse_checkpoint(parse_note(block.checkpoint.encode()).text)).signatures == (line,)
    assert VerifierKey(genesis().origin, KeyType.ED25519, typed[1:]).key_id == line.key_id


def test_a_line_that_looks_like_a_members_is_refused(replica, author):
    # Its key id can be ground out; under a member's name it would spoil the note for every verifier.
    size = final_block(author)
    member = next(line for line in parse_note(replica.store.final().note.encode()).signatures if "mldsa44" in line.name)
    before = replica.store.final()
    with pytest.raises(VerificationError, match=r"replica\.outside_line"):
        replica.put_outside_lines(size, [replace(member, data=bytes(72))])
    assert replica.store.final() == before


def test_lines_for_a_checkpoint_that_is_not_kept_are_dropped(replica, author):
    size = final_block(author)
    block_of(replica, author.anchor())
    replica.put_outside_lines(replica.size, [cosign(head_of(replica), NAME, ED, TIME)])
    assert replica.store.checkpoint(replica.size) is None
    assert replica.store.final().size == size


def test_outside_lines_never_push_out_a_members(replica, author):
    size = final_block(author)
    ours = len(parse_note(replica.store.final().note.encode()).signatures)
    lines = [Signature(f"w{n}.example", bytes(4), bytes(72)) for n in range(MAX_SIGNATURES)]
    replica.put_outside_lines(size, lines)
    note = parse_note(replica.store.final().note.encode())
    assert len(note.signatures) == MAX_SIGNATURES
    assert sum(line.name.startswith("w") for line in note.signatures) == MAX_SIGNATURES - ours
    # And a member's new line takes the place of one of them.
    checkpoint = replica.blocks(replica.height, 1)[0].checkpoint
    replica.put_note(cosigned(checkpoint, *ROLES, time=TIME + 40))
    after = parse_note(replica.store.final().note.encode())
    assert len(after.signatures) == MAX_SIGNATURES
    assert sum(not line.name.startswith("w") for line in after.signatures) == ours
    assert any(line.name == genesis().origin for line in after.signatures)

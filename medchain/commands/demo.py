"""`medchain demo`: five organisations on this machine, from made-up patient records to proofs that anybody can check.

Keeps true: nothing is simulated but the patient's phone; a check that fails ends the demo with its reason and an exit
code other than 0; whatever was started is stopped, after Ctrl-C, SIGTERM or a failure as well. A node that ends after
the checks is told, with the command that starts it again, and the others go on without it. Trusts the parts in the
files beside this one.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from medchain.commands import access
from medchain.commands import demo_texts as texts
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.demo_bundles import (
    BUNDLES_NAME,
    Judged,
    entry_files,
    judge,
    judge_tampered,
    object_files,
    write_bundle,
    zip_files,
)
from medchain.commands.demo_consortium import FOUNDERS, ORDERER, REGULATOR, Consortium, call, open_consortium
from medchain.commands.demo_desks import Desks
from medchain.commands.demo_einvoices import standing_in
from medchain.commands.demo_ledger import cosigners, count_entries, newest_note
from medchain.commands.demo_load import Loader, Source, sample_sources, sources
from medchain.commands.demo_person import Person
from medchain.commands.demo_rates import Client, Rate
from medchain.commands.demo_statements import PHARMACY, Statements
from medchain.commands.demo_story import CUSTODIAN, RECIPIENT, RESOURCE_TYPES, STRANGER, Placed, Story
from medchain.commands.demo_summary import (
    Told,
    document,
    lines,
    medchain_command,
    name_of,
    passed,
    person_lines,
)
from medchain.encoding import Json, as_number, unhex
from medchain.errors import VerificationError
from medchain.ledger.object import ACTIVE, map_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.log import open_log
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits
from medchain.record_types import TYPES

FOLDER: Final = Path("var") / "demo"
"""Where the demo lives unless told otherwise."""

_SCOPES: Final = "system/*.crus"
_RENEW_S: Final = 120
_WATCH_S: Final = 0.5
_SHOWN_HEX: Final = 16
_VERIFIERS: Final = 2
# What each bundle answers, in the order in which they are made, and which of them is of the withdrawn consent.
_ANSWERS: Final = ("record", "absent", "record", "record", "entry")
_WITHDRAWN: Final = 2
_ABSENT_ID: Final = bytes(16)
_LIMITS: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)


@dataclass(slots=True)
class Tokens:
    """Access tokens of the hospitals, renewed before they run out.

    Attributes:
        consortium: whose.
        context: of the command.
    """

    consortium: Consortium
    context: Context
    _kept: dict[str, tuple[float, str]] = field(default_factory=dict)

    def get(self, org_id: str) -> str:
        """Return a token of a hospital's node."""
        made, token = self._kept.get(org_id, (0.0, ""))
        now = time.monotonic()
        if not token or now - made > _RENEW_S:
            token = self._issue(org_id)
            self._kept[org_id] = (now, token)
        return token

    def _issue(self, org_id: str) -> str:
        """Issue one with the node's own authentication key, as its operator would."""
        words = [f"--config={self.consortium.nodes[org_id].config_path}", f"--scope={_SCOPES}", "--client=demo"]
        answer = call(("token", "issue"), words, self.context, access.COMMANDS)
        return str(answer["access_token"]) if isinstance(answer, dict) else ""


class Demo:
    """One run."""

    def __init__(self, context: Context, consortium: Consortium, began: float) -> None:
        """Prepare.

        Args:
            context: of the command.
            consortium: nothing of which runs yet.
            began: monotonic time of the start.
        """
        self._context = context
        self._consortium = consortium
        self._began = began
        self._tokens = Tokens(consortium, context)
        self._story = Story(consortium, context.clock)
        self._measured: dict[str, Json] = {}
        self._judged: list[Judged] = []
        self._statements: dict[str, tuple[str, ...]] = {}
        self._desks = Desks(consortium, context, self.tell, self._tokens.get)
        self._rates: dict[str, Rate] = {}
        self._person = Person(consortium, context, self._story, self.tell)
        self._loading_at = context.clock()
        self._shown = -1

    def einvoices(self, data: Path | None) -> AbstractContextManager[str]:
        """Stand in for a service that checks electronic invoices, of the sample data; of others nothing is known.

        Args:
            data: as of `run`.
        """
        facts = self._consortium.facts
        if data is not None or (facts.get("records") and not isinstance(facts.get("loaded"), int)):
            return nullcontext("")
        return standing_in(self._consortium, sample_sources(), as_number(facts.get("loaded", self._loading_at)))

    def run(self, data: Path | None) -> None:
        """Play everything and check it.

        Args:
            data: folder of bundles; None for the sample data.

        Raises:
            MedchainError: a check that failed.
        """
        consortium = self._consortium
        self.tell(texts.STARTING)
        consortium.start()
        consortium.wait_serving()
        self._measure("ready")
        self.tell(texts.STARTED)
        if consortium.einvoice_url:
            self.tell(texts.EINVOICES, url=consortium.einvoice_url)
        self._load(data)
        patient = str(self._consortium.facts["patient"])
        subject = self._enrol(patient)
        consent = self._told(self._story.consent(subject), texts.CONSENTED)
        grant = self._told(self._story.grant(consent.key), texts.GRANTED)
        self._exchange(consent.key, grant.key)
        self._prove(patient, consent, grant.key)
        self._state()
        self._claims()
        self._rate()
        self._agree()

    def tell(self, text: Text, **fields: object) -> None:
        """Tell of progress."""
        line = self._context.say(text, **fields)
        if self._context.err.isatty():
            self._context.err.write("\r\x1b[K")
        self._context.tell(texts.LINE, seconds=time.monotonic() - self._began, text=line)

    def summary(self) -> tuple[Json, list[str]]:
        """Say what there is now, as a document and as lines for a person."""
        consortium = self._consortium
        # One checkpoint for both: the audit of what the demo has asked may still be on its way to the ledger.
        note = self._whole_note()
        count = count_entries(consortium.nodes[ORDERER], note)
        names = cosigners(note, consortium.policy())
        self._measure("all")
        found = self._measured, self._judged, self._statements, self._desks.found, self._rates
        told = Told(consortium, count, names, *found, time.monotonic() - self._began)
        shown, said = document(told), list(lines(told, self._context.say, self._context.language))
        person = self._person.invite()
        return {**shown, "person": person}, [*said, *person_lines(consortium, person, self._context.say)]

    def stay(self) -> None:
        """Run until Ctrl-C or SIGTERM; tell of nodes that end or come back.

        Raises:
            UnavailableError: ``demo.node_ended`` when none runs any more.
        """
        lost: set[str] = set()
        while True:
            ended = self._consortium.ended()
            for org_id in sorted(ended - lost):
                node, running = self._consortium.nodes[org_id], len(FOUNDERS) - len(ended)
                again = f"{medchain_command()} node run --config {node.config_path}"
                self.tell(texts.NODE_LOST, org=self._name(org_id), logs=node.folder / "logs", running=running)
                self.tell(texts.NODE_AGAIN, command=again)
            for org_id in sorted(lost - ended):
                self.tell(texts.NODE_BACK, org=self._name(org_id))
            if len(ended) == len(FOUNDERS):
                self._consortium.check_running()
            lost = ended
            self._person.step()
            time.sleep(_WATCH_S)

    def _load(self, data: Path | None) -> None:
        """Load the data, or find those of an earlier run."""
        facts = self._consortium.facts
        if facts.get("records"):
            self.tell(texts.KEPT_DATA, records=facts["records"])
            if data is not None:
                self.tell(texts.DATA_LEFT_OUT, data=data)
            return
        files = sample_sources() if data is None else sources(data)
        with self._consortium.loading():
            loader = self._post(files, may_refuse=data is not None)
            patients = loader.loaded[CUSTODIAN].patients
            self._expect("load.patient", is_true=bool(patients))
            self._consortium.remember(stories=[*(loader.planted() if data is None else [])])
            claim = loader.left_open()
            if claim is not None:
                self._consortium.remember(claim=claim, person=claim["patient"])
            elif patients[1:]:
                self._consortium.remember(person=patients[1])
            held = {org_id: item.records for org_id, item in loader.loaded.items()}
            self._consortium.remember(patient=patients[0], records=loader.records, held=dict[str, Json](held))
            if data is None:
                self._consortium.remember(loaded=self._loading_at)
        self._wait_anchored(held)
        self.tell(texts.ANCHORED, records=loader.records)
        self._measure("loaded")
        self._agree()

    def _post(self, files: Sequence[Source], *, may_refuse: bool) -> Loader:
        """Post the bundles to hospitals and insurers; what others made may hold what a node does not take."""
        loader = Loader(self._consortium, self._tokens.get, self._progress, self._loading_at)
        seconds = loader.load(files)
        refused = [told for item in loader.loaded.values() for told in item.refused]
        for name, code in refused:
            self.tell(texts.REFUSED_FILE, file=name, code=code)
        rate = loader.records / max(seconds, 0.001)
        self.tell(texts.LOADED, records=loader.records, seconds=seconds, rate=rate)
        self._expect("load.refused", is_true=may_refuse or not refused)
        self._consortium.remember(load_per_s=round(rate))
        return loader

    def _wait_anchored(self, expected: dict[str, int]) -> None:
        """Wait until the ledger, read entry by entry, holds the anchor of every record."""

        def anchored() -> bool:
            objects = count_entries(self._consortium.nodes[ORDERER]).objects
            return all(objects["record", hospital] >= count for hospital, count in expected.items())

        self._consortium.wait_for(anchored, "demo.not_anchored")

    def _enrol(self, patient: str) -> bytes:
        """Enrol the patient, unless an earlier run did."""
        known = self._consortium.facts.get("subject")
        if isinstance(known, str) and self._story.is_enrolled(unhex(known, HASH_BYTES)):
            self.tell(texts.ENROLLED_BEFORE)
            return unhex(known, HASH_BYTES)
        placed = self._told(self._story.enrol(patient), texts.ENROLLED)
        self._consortium.remember(subject=placed.key.hex())
        return placed.key

    def _exchange(self, consent: bytes, grant: bytes) -> None:
        """Read with consent, without, and after its withdrawal."""
        story = self._story
        read = story.read(RECIPIENT, grant)
        self._expect("read.records", is_true=read.count > 0)
        self._measured["read_s"] = f"{read.seconds:.3f}"
        self.tell(texts.READ, recipient=self._name(RECIPIENT), count=read.count, seconds=read.seconds)
        self._expect("read.stranger", is_true=story.refused(STRANGER, grant))
        self.tell(texts.STRANGER_REFUSED, org=self._name(STRANGER))
        self.tell(texts.WITHDRAWN, seconds=story.withdraw(consent))
        self._expect("read.after_withdrawal", is_true=story.refused(RECIPIENT, grant))
        self.tell(texts.READ_REFUSED, org=self._name(RECIPIENT))
        self.tell(texts.STOP_FINAL, seconds=story.wait_status(consent, "stopped", list(self._consortium.nodes)))
        self._expect("read.after_stop", is_true=story.refused(RECIPIENT, grant))
        own, given = story.accesses(CUSTODIAN, grant)
        other, received = story.accesses(RECIPIENT, grant)
        self._expect("access.same", is_true=own == other and given == received and len(given) == 1)
        self.tell(texts.ACCESSES, version=own.version, count=len(given))

    def _prove(self, patient: str, consent: Placed, grant: bytes) -> None:
        """Export a bundle of each kind of answer, and have each verified by a process that knows the policy alone."""
        home, regulator = self._consortium.nodes[CUSTODIAN], self._consortium.nodes[REGULATOR]
        access, _ = self._story.accesses(RECIPIENT, grant)
        bundles = {
            "record": self._record_proof(patient),
            "absent": object_files(regulator, map_key("record", CUSTODIAN, _ABSENT_ID)),
            "consent-withdrawn": object_files(regulator, consent.key),
            "access": object_files(self._consortium.nodes[RECIPIENT], access.key),
            "consent-entry": entry_files(home, consent.position),
        }
        folder, policy = self._consortium.folder / BUNDLES_NAME, self._consortium.policy_path
        for name, files in bundles.items():
            write_bundle(folder / name, files)
        with ThreadPoolExecutor(_VERIFIERS) as pool:
            tampering = pool.submit(judge_tampered, folder / "record", policy)
            self._judged += pool.map(lambda name: judge(folder / name, policy), bundles)
            tampered = tampering.result()
        for judged, answer in zip(self._judged, _ANSWERS, strict=True):
            name, verdict = judged.name, judged.verdict
            self._expect(f"bundle.{name}", is_true=judged.is_verified and verdict.get("answer") == answer)
            self.tell(texts.VERIFIED, name=name, cosigners=len(_listed(verdict, "cosigners")))
        self._expect("bundle.status", is_true=self._judged[_WITHDRAWN].verdict.get("status") == "stopped")
        self._expect("bundle.tampered", is_true=tampered.code == Exit.REFUSED)
        self.tell(texts.TAMPERED, name="record", code=tampered.reason)

    def _state(self) -> None:
        """Lead a prescription and a carbon report through their lives, and prove what is shown of the report."""
        statements = Statements(self._consortium, self._context.clock)
        if not statements.are_known():
            self.tell(texts.NO_STATEMENTS)
            return
        paper = statements.dispense()
        told = {"again": paper.again, "seconds": paper.seconds, "stranger": paper.stranger}
        self.tell(texts.DISPENSED, pharmacy=self._name(PHARMACY), **told)
        report = statements.report()
        self._statements = {"prescription": paper.states, "carbon-report": report.states}
        self.tell(texts.REPORTED, states=passed(report.states, self._context.say), own=report.own, second=report.second)
        folder = self._consortium.folder / BUNDLES_NAME / "carbon-report"
        write_bundle(folder, report.files)
        judged = judge(folder, self._consortium.policy_path)
        self._expect("bundle.carbon-report", is_true=judged.is_verified and judged.verdict.get("status") == "ended")
        self._judged.append(judged)
        self._measured["dispensed_s"] = f"{paper.seconds:.3f}"

    def _claims(self) -> None:
        """Have the insurers' desks find what is planted in the sample data, and pay what is genuine."""
        desks = self._desks
        desks.work()
        self._judged += desks.judged
        if desks.paid_s is not None:
            self._measured["claim_paid_s"] = f"{desks.paid_s:.2f}"

    def _record_proof(self, patient: str) -> dict[str, bytes]:
        """Fetch a record's bundle from the hospital's API."""
        node = self._consortium.nodes[CUSTODIAN]
        pool = HttpPool(f"http://127.0.0.1:{node.web_port}", CUSTODIAN, None)
        headers = {"Authorization": f"Bearer {self._tokens.get(CUSTODIAN)}"}
        try:
            request = PeerRequest("GET", f"/fhir/Patient/{patient}/$proof", b"")
            return zip_files(pool.request(request, headers, _LIMITS).body)
        finally:
            pool.close()

    def _agree(self) -> None:
        """See that all five nodes hold the same final root, and that all five have cosigned it."""
        self._consortium.wait_agreed()
        self._whole_note()
        checkpoint = self._consortium.checkpoint()
        self.tell(texts.AGREED, size=checkpoint.size, root=checkpoint.root.hex()[:_SHOWN_HEX] + "…")

    def _whole_note(self) -> bytes:
        """Wait for a final checkpoint with all cosignatures: the slowest line comes a round after the quorum's."""
        orderer, policy = self._consortium.nodes[ORDERER], self._consortium.policy()
        note = b""

        def is_whole() -> bool:
            nonlocal note
            note = newest_note(orderer)
            return len(cosigners(note, policy)) == len(FOUNDERS)

        self._consortium.wait_for(is_whole, "demo.not_cosigned")
        return note

    def _rate(self) -> None:
        """Measure how fast the hospital's node answers."""
        client = Client(self._consortium.nodes[CUSTODIAN].web_port, CUSTODIAN, self._tokens.get(CUSTODIAN))
        try:
            self._rates = client.measure()
        finally:
            client.close()

    def _told(self, placed: Placed, text: Text) -> Placed:
        """Tell of an object that became final."""
        language = self._context.language
        self.tell(
            text,
            endorser=self._name(placed.endorser),
            seconds=placed.seconds,
            recipient=self._name(RECIPIENT),
            types="、".join(TYPES[one] for one in RESOURCE_TYPES) if language == "zh" else " and ".join(RESOURCE_TYPES),
        )
        # The next step's endorser may be the node that is behind; it would wait a second, and a busy machine longer.
        self._story.wait_status(placed.key, ACTIVE, list(self._consortium.nodes))
        return placed

    def _progress(self, done: int, total: int, records: int) -> None:
        """Show how far loading is: one line that changes on a terminal, a line now and then elsewhere."""
        if self._context.err.isatty():
            line = self._context.say(texts.LOADING, done=done, total=total, records=records)
            self._context.err.write(f"\r\x1b[K{line}")
            self._context.err.flush()
        elif done * 4 // total > self._shown:
            self._shown = done * 4 // total
            self.tell(texts.LOADING, done=done, total=total, records=records)

    def _measure(self, what: str) -> None:
        """Keep the time since the start."""
        self._measured[f"{what}_s"] = f"{time.monotonic() - self._began:.1f}"

    def _expect(self, check: str, *, is_true: bool) -> None:
        """End the demo if a check fails."""
        if not is_true:
            raise VerificationError("demo.expected", check=check)

    def _name(self, org_id: str) -> str:
        """Name an organisation in the reader's language."""
        return name_of(org_id, self._context.language)


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `demo` takes."""
    parser.add_argument("--data", type=Path, metavar="DIR", help=say(texts.DATA_HELP))
    parser.add_argument("--once", action="store_true", help=say(texts.ONCE_HELP))
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=say(texts.FOLDER_HELP))


def _demo(context: Context) -> int:
    """Run the demo."""
    began = time.monotonic()
    given = context.arguments
    if given.data is not None:
        # Before anything is made: a mistyped folder should cost a second, not a consortium.
        sources(given.data)
    with _interruptible():
        consortium, is_new = open_consortium(given.folder, context)
        # What a clinician does in the demo is done in this process.
        logs = consortium.folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        open_log(logs, "demo", "info")
        demo = Demo(context, consortium, began)
        demo.tell(texts.FOUNDED if is_new else texts.REUSED, folder=consortium.folder)
        try:
            with demo.einvoices(given.data):
                demo.run(given.data)
                answer, told = demo.summary()
                if given.once:
                    context.answer(answer, told)
                else:
                    with suppress(KeyboardInterrupt):
                        context.answer(answer, [*told, context.say(texts.RUNNING)])
                        demo.stay()
        finally:
            _ignore_interrupts()
            demo.tell(texts.STOPPING)
            consortium.stop()
            demo.tell(texts.STOPPED)
    return Exit.DONE


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does, also where the shell has Ctrl-C ignored, as it does in the background."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_interrupts() -> None:
    """Let nothing cut the stopping short; it has its own limit of time."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _listed(document: object, name: str) -> list[object]:
    """Return a list in a document, empty where there is none."""
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, list) else []


COMMANDS: Final = (Command(("demo",), texts.SUMMARY, texts.EXAMPLES, _demo, _arguments, needs_config=False),)
"""The commands of this file."""

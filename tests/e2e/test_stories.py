"""The planted stories come out over real nodes, and nothing else does: every claim of both insurers is judged.

A demo of its own, with the sample data and their stories, as `make demo` has it.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest

import sample_data
from medchain.commands.checking import read_bundle
from medchain.commands.demo_claims import DUPLICATE, Claims, Planted, telling
from medchain.commands.demo_consortium import INSURERS, Consortium
from medchain.ledger.evidence.verdict import Colour
from medchain.node.clock import system_clock
from tests.e2e.running_demo import ORG_IDS, RunningDemo
from tests.interop.evidence import proofs, put_proof, put_time, times
from tests.interop.tools import accepted
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

RENHE, BINHAI, ANXIN, TAIHE, COMMISSION = ORG_IDS
MOST_S = 120.0


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path_factory.mktemp("stories") / "consortium", None)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def nodes(told) -> Iterator[Consortium]:
    with told.consortium() as found:
        yield found


def test_the_demo_tells_what_each_desk_found(told):
    rows = [(row["story"], row["insurer"], row["hospital"], row["colour"], row["codes"]) for row in told.said["claims"]]
    assert rows == [
        ("duplicate-invoice", ANXIN, RENHE, "green", []),
        ("duplicate-invoice", TAIHE, RENHE, "red", ["unclaimed.claimed"]),
        ("altered-record", TAIHE, BINHAI, "red", ["flags.altered", "unaltered.altered"]),
        ("late-entry", ANXIN, RENHE, "amber", ["source.late"]),
        ("emergency-access", ANXIN, BINHAI, "amber", ["flags.emergency"]),
    ]
    assert 0 < float(told.said["measured"]["claim_paid_s"]) < MOST_S


def test_each_claims_bundle_verifies_given_the_policy_alone_and_says_the_same(told, tmp_path):
    policy = tmp_path / "trusted.txt"
    policy.write_bytes((told.folder / "policy.txt").read_bytes())
    names = sorted(path.name for path in (told.folder / "bundles").glob("claim-*"))
    assert names == ["claim-altered-record", "claim-duplicate-invoice", "claim-emergency-access", "claim-genuine",
                     "claim-late-entry"]  # fmt: skip
    for name in names:
        folder = told.folder / "bundles" / name
        verdict = json.loads(told.run("verify", folder, "--policy", policy, "--json"))
        assert verdict["answer"] == "claim"
        assert orjson.loads((folder / "verdict.json").read_bytes()) == verdict["claim"]
        assert verdict["claim"] == told.said["bundles"][name]["claim"]


@pytest.mark.engine
def test_tools_of_others_accept_each_proof_in_each_claims_bundle(told, tmp_path):
    policy = tmp_path / "trusted.txt"
    policy.write_bytes((told.folder / "policy.txt").read_bytes())
    for bundle in sorted((told.folder / "bundles").glob("claim-*")):
        files, place = read_bundle(bundle), tmp_path / bundle.name
        place.mkdir()
        whole = accepted("bundle", policy, bundle)
        assert whole["entry"]["index"] == whole["entry"]["checkpoint"]["size"] - 1
        mapped = [
            accepted("bundle", policy, put_proof(place / f"map-{number}", files, proof))["map"]
            for number, proof in enumerate(proofs(files))
        ]
        # Records, permission and access; what nobody has claimed is an absence.
        assert set(mapped) <= {"absent", "member"}
        assert mapped.count("member") > 10
        for number, (position, block) in enumerate(times(files)):
            report = accepted("bundle", policy, put_time(place / f"time-{number}", files, position, block))["block"]
            assert report["end"] > position


def test_the_altered_fields_are_named_and_what_they_say_is_not(told):
    folder = told.folder / "bundles" / "claim-altered-record"
    verdict = orjson.loads((folder / "verdict.json").read_bytes())
    found = [one for line in verdict["lines"] for one in line["findings"] if one["code"] == "unaltered.altered"]
    story = next(one for one in sample_data.stories() if one["name"] == "altered-record")
    assert [one["arguments"]["fields"] for one in found] == ["/note/0/text, /onsetDateTime"]
    before, after = (story["changes"][0][name] for name in ("before", "after"))
    # The day of the illness before stands in the opening, as the hospital registered it first; what it was made into
    # is told to nobody.
    assert before.encode() in b"".join(read_bundle(folder).values())
    assert after.encode() not in (folder / "evidence.json").read_bytes()


def test_the_second_insurer_is_told_neither_who_was_first_nor_whose_invoice_it_is(told):
    second = read_bundle(told.folder / "bundles" / f"claim-{DUPLICATE}")
    assert telling(second, DUPLICATE, ANXIN) == []
    # The search finds what is there: the first insurer's own bundle names it, of course.
    assert "evidence.json" in telling(read_bundle(told.folder / "bundles" / "claim-genuine"), DUPLICATE, ANXIN)


def others(told: RunningDemo, nodes: Consortium) -> Iterator[Planted]:
    """List the claims that no story is about, by what each insurer's node says of its own."""
    known = {row.claim for row in Claims(nodes, system_clock).planted()}
    for insurer in INSURERS:
        for claim in claims_at(told, insurer):
            if claim not in known:
                case = nodes.nodes[insurer].local.call("case.open", {"claim": claim})
                hospital = case["hospital"]
                yield Planted("", claim, hospital, insurer, case["patients"][hospital])


def claims_at(told: RunningDemo, insurer: str) -> list[str]:
    """List the claims that an insurer's system has stored, by its FHIR API."""
    url = f"http://127.0.0.1:{told.said['nodes'][insurer]['web'].rpartition(':')[2]}/fhir/Claim?_count=200"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {told.token(insurer, 'system/*.rs')}"})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # a loopback address of ours
        return [f"Claim/{entry['resource']['id']}" for entry in json.load(answer)["entry"]]


def test_every_other_claim_of_both_insurers_is_green(told, nodes):
    desks, colours, odd = Claims(nodes, system_clock, lambda there, _code: eventually(there)), Counter(), {}
    for planted in others(told, nodes):
        found = desks.judge(planted, "核对 to check")
        colours[found.verdict.colour] += 1
        if found.odd:
            odd[planted.claim] = [one.to_json() for one in found.odd]
    assert odd == {}
    assert colours == {Colour.GREEN: 96}

"""Every claim is judged, and what is planted in the sample data is found, and nothing else; `--synthea` for others'.

What a hospital tells of a claim, and five of the verdict's seven lines: source, unaltered, complete, coverage, flags.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

import sample_data
from medchain.commands.demo_load import cited
from medchain.node.emergency import EmergencyDesk
from tests.claim_alarms import CLAIMS, HOUR_S, Hospital, hospital, judged, of_insurers

pytestmark = pytest.mark.e2e

HOSPITALS = ("renhe-hospital", "binhai-hospital")
# Of others' claims nobody has handed in an invoice, and nobody has told a policy.
NOT_SHOWN = {"complete.no_invoice", "coverage.unknown"}
# Who has claimed an invoice before is on the ledger, which is not judged here.
EXPECTED = {
    "duplicate-invoice": set(),
    "altered-record": {"flags.altered", "unaltered.altered"},
    "late-entry": {"source.late"},
    "emergency-access": {"flags.emergency"},
    "open-claim": set(),
}


@pytest.fixture(scope="module")
def synthea(request) -> Path | None:
    folder = request.config.getoption("--synthea")
    return Path(folder) if folder else None


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory, synthea) -> Iterator[dict[str, Hospital]]:
    zone, folder = "UTC" if synthea else "Asia/Shanghai", tmp_path_factory.mktemp("hospitals")
    with ExitStack() as stack:
        yield {name: stack.enter_context(hospital(name, folder / name, zone)) for name in HOSPITALS}


def test_of_the_claims_of_the_sample_data_the_planted_stories_come_out_and_nothing_else(hospitals):
    """Each insurer's own claims, with the invoice as it was handed in and the policy of its customer."""
    files = list(sample_data.read())
    stories = dict(sample_data.read(sample_data.STORIES))
    for name, text in files:
        if name.startswith(HOSPITALS):
            hospitals[name.partition(".")[0]].load(text)
    for one in hospitals.values():
        one.server.time[0] += HOUR_S
    hospitals["binhai-hospital"].load(stories["altered-record.json"])
    hospitals["binhai-hospital"].load(stories["emergency-access.json"])
    hospitals["renhe-hospital"].load(stories["late-entry.json"])
    break_glass(hospitals["binhai-hospital"])
    places = {
        (name, uid): f"https://{name}.example/fhir/{place}"
        for name, one in hospitals.items()
        for uid, place in one.places.items()
    }
    found, count = {}, 0
    for name, text in (*files, *stories.items()):
        if "-insurance." in name and ".0-directory." not in name:
            for number, content, policy in of_insurers(cited(text, places)):
                codes = {one.code for one in judged(content, list(hospitals.values()), policy)}
                found |= {number: codes} if codes else {}
                count += 1
    expected = {
        each["identifier"]["value"]: EXPECTED[story["name"]]
        for story in sample_data.stories()
        for each in story["resources"]
        if each["type"] == "Claim"
    }
    assert found == {number: codes for number, codes in expected.items() if codes}
    assert count == 101


def break_glass(reader: Hospital) -> None:
    """Have the reader of the emergency story declare it when it was; what was given does not matter here."""
    story = next(one for one in sample_data.stories() if one["name"] == "emergency-access")
    server, person = reader.server, story["patient"]["nationalId"]
    desk = EmergencyDesk(reader.org_id, server.store, server.service, server.core.clock, secrets.token_bytes)
    staff, reason = story["reader"]["practitioner"]["value"], story["reason"]["zh"]
    now, server.time[0] = server.time[0], int(datetime.fromisoformat(story["accessedAt"]).timestamp())
    desk.declare_elsewhere(story["hospital"], f"{person['system']}|{person['value']}", staff, reason)
    server.time[0] = now


def test_of_all_claims_as_their_hospital_holds_them_none_is_doubted(tmp_path_factory, synthea):
    """Claims and explanations of benefit as they are, without what an insurer would have beside them."""
    zone, seen, odd = "UTC" if synthea else "Asia/Shanghai", Counter(), {}
    # Our explanations of benefit name their claim, and cite nothing.
    kinds = CLAIMS if synthea else CLAIMS[:1]
    with hospital("renhe-hospital", tmp_path_factory.mktemp("one") / "node", zone) as one:
        for name, text in sample_data.read(synthea):
            if synthea is None and not name.startswith("renhe-hospital."):
                continue
            for reference in one.load(text):
                if reference.partition("/")[0] in kinds:
                    codes = {finding.code for finding in judged(one.content(reference), [one])}
                    seen.update(codes)
                    seen[reference.partition("/")[0]] += 1
                    if codes - NOT_SHOWN:
                        odd[name, reference] = codes - NOT_SHOWN
    assert odd == {}, (len(odd), seen)
    assert seen["Claim"] >= 49

"""Histories, deletions and what comes back after them, from outside (FHIR R4 §3.1.0.7, §3.1.0.12)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.rest import history
from fhir_bridge.search.index import SearchIndex
from medchain.store.versions import Past, VersionReader
from tests.unit.fhir_bridge.conftest import BASE_URL

PATIENT = {"resourceType": "Patient", "id": "p1"}
BASIC = {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}}


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def told(response) -> list[tuple[str, str, str]]:
    """Method, address and version of each entry."""
    rows = json.loads(response.data).get("entry", [])
    return [(row["request"]["method"], row["request"]["url"], row["response"]["etag"]) for row in rows]


def link(response, relation: str) -> str | None:
    rows = json.loads(response.data)["link"]
    return next((row["url"] for row in rows if row["relation"] == relation), None)


def lived(server) -> None:
    """Let a patient be created, changed, deleted and created again, a day each."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.time[0] += 86_400
    server.call("PUT", "/fhir/Patient/p1", PATIENT | {"active": True})
    server.call("PUT", "/fhir/Basic/b1", BASIC)
    server.time[0] += 86_400
    assert server.call("DELETE", "/fhir/Patient/p1").status_code == 204
    server.time[0] += 86_400
    assert server.call("PUT", "/fhir/Patient/p1", PATIENT).status_code == 201


def test_the_history_of_a_record_tells_all_that_happened_the_newest_first(server):
    lived(server)
    response = server.call("GET", "/fhir/Patient/p1/_history")
    document = json.loads(response.data)
    assert (response.status_code, document["type"], document["total"]) == (200, "history", 4)
    assert told(response) == [
        ("PUT", "Patient/p1", 'W/"4"'),
        ("DELETE", "Patient/p1", 'W/"3"'),
        ("PUT", "Patient/p1", 'W/"2"'),
        # §3.1.0.4.1: under an id of its own choice a client creates by an update.
        ("PUT", "Patient/p1", 'W/"1"'),
    ]
    assert ["resource" in row for row in document["entry"]] == [True, False, True, True]
    # §3.1.0.7: after a deletion an update creates, and §3.1.0.4: what creates is answered 201.
    assert [row["response"]["status"] for row in document["entry"]] == ["201", "204", "200", "201"]
    assert document["entry"][2]["resource"]["active"] is True
    assert document["entry"][0]["fullUrl"] == "http://127.0.0.1:41000/fhir/Patient/p1"
    assert document["entry"][1]["response"]["lastModified"] == "2026-12-03T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("_since=2026-12-02", [4, 3, 2]),
        ("_since=2026-12-03T00:00:00Z", [4, 3]),
        ("_since=2026-12-03T08:00:00%2B08:00", [4, 3]),
        ("_at=2026-12-02", [2]),
        ("_at=2026-12-01T12:00:00Z", [1]),
        ("_at=2027", [4]),
        ("_at=2025", []),
    ],
)
def test_a_part_of_a_history_by_time(server, query, versions):
    lived(server)
    found = told(server.call("GET", f"/fhir/Patient/p1/_history?{query}"))
    assert [int(tag[3:-1]) for _, _, tag in found] == versions


@pytest.mark.parametrize(("query", "versions"), [("_at=2026-12-02", [3, 2]), ("_since=2026-12-02", [4, 3])])
def test_a_day_of_a_history_is_that_of_the_nodes_zone(server, query, versions):
    """2 December lasts in Los Angeles until 08:00 of the next day in UTC; the changes are at midnight in UTC."""
    SearchIndex(server.store, zone="America/Los_Angeles")
    server.core.search.index.refresh()
    lived(server)
    found = told(server.call("GET", f"/fhir/Patient/p1/_history?{query}"))
    assert [int(tag[3:-1]) for _, _, tag in found] == versions


def test_histories_of_a_type_and_of_all(server):
    lived(server)
    assert len(told(server.call("GET", "/fhir/Patient/_history"))) == 4
    assert [url for _, url, _ in told(server.call("GET", "/fhir/_history"))].count("Basic/b1") == 1
    assert [url for _, url, _ in told(server.call("GET", "/fhir/_history", scope="system/Basic.rs"))] == ["Basic/b1"]
    assert server.call("GET", "/fhir/Patient/_history", scope="system/Basic.rs").status_code == 403
    assert server.call("GET", "/fhir/_history", scope="system/*.r").status_code == 403


def test_pages_of_a_history_skip_and_repeat_nothing_while_others_write(server):
    for number in range(7):
        server.call("PUT", f"/fhir/Basic/b{number}", BASIC | {"id": f"b{number}"})
    seen, address = [], "/fhir/Basic/_history?_count=3"
    while address:
        page = server.call("GET", address)
        seen += [row["resource"]["id"] for row in json.loads(page.data)["entry"]]
        server.call("PUT", "/fhir/Basic/late", BASIC | {"id": "late"})
        following = link(page, "next")
        address = following and following.removeprefix("http://127.0.0.1:41000")
    assert seen == [f"b{number}" for number in reversed(range(7))]


def test_a_cursor_is_for_who_got_it_where_it_was_given_and_for_an_hour(server):
    for number in range(3):
        server.call("PUT", f"/fhir/Basic/b{number}", BASIC | {"id": f"b{number}"})
    page = server.call("GET", "/fhir/Basic/_history?_count=1")
    cursor = link(page, "next").partition("_cursor=")[2]
    assert b"b1" in server.call("GET", f"/fhir/Basic/_history?_cursor={cursor}").data
    for path in (
        f"/fhir/Patient/_history?_cursor={cursor}",
        f"/fhir/Basic/_history?_cursor={cursor[:-2]}AA",
        "/fhir/Basic/_history?_cursor=",
    ):
        assert code_of(server.call("GET", path)) == "search.cursor"
    assert code_of(server.call("GET", f"/fhir/Basic/_history?_cursor={'A' * 9000}")) == "search.cursor"
    assert code_of(server.call("GET", f"/fhir/Basic?_cursor={cursor}")) == "search.cursor"
    assert code_of(server.call("GET", f"/fhir?_cursor={cursor}")) == "search.cursor"
    found = link(server.call("GET", "/fhir/Basic?_count=1"), "next").partition("_cursor=")[2]
    assert code_of(server.call("GET", f"/fhir/Basic/_history?_cursor={found}")) == "search.cursor"
    server.time[0] += 3_601
    late = server.call("GET", f"/fhir/Basic/_history?_cursor={cursor}")
    assert (late.status_code, code_of(late)) == (410, "search.expired")


def test_histories_are_looked_up_however_much_there_is_of_others(server, monkeypatch):
    """No page looks at more than it tells of: SQLite says by which index it goes."""
    asked = []
    monkeypatch.setattr(VersionReader, "_all", lambda _self, chosen: asked.append(chosen) or [])
    reader = VersionReader(server.store)
    for past in (
        Past(types=("Basic",)),
        Past(types=("Basic",), since=9),
        Past(types=("Basic", "Patient"), since=9),
        Past(types=("Basic",), id="b1"),
        Past(types=("Basic",), before=1),
    ):
        reader.past(past)
    with server.store.database.read("record") as connection:
        plans = []
        for chosen in asked:
            sql = str(chosen.compile(connection, compile_kwargs={"literal_binds": True}))
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
            plans.append(next(row[3] for row in rows if row[3].partition(" ")[2].startswith("record ")))
    assert plans == [
        "SEARCH record USING INDEX record_by_type (type=?)",
        "SEARCH record USING INDEX record_by_type (type=? AND created>?)",
        "SEARCH record USING INDEX record_by_type (type=? AND created>?)",
        "SEARCH record USING INDEX sqlite_autoindex_record_1 (type=? AND id=?)",
        "SEARCH record USING INDEX record_by_type (type=? AND created<?)",
    ]


@pytest.mark.parametrize("query", ["_since=yesterday", "_at=x", "_count=-1", "_count=many"])
def test_what_cannot_be_read_is_refused(server, query):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = server.call("GET", f"/fhir/Patient/p1/_history?{query}")
    assert (response.status_code, code_of(response)) == (400, "search.value")


def test_a_count_of_nothing_asks_for_the_number_alone(server, monkeypatch):
    """§3.1.1.5.4: with `_count=0` the total, no entries, no further pages."""
    lived(server)
    for path, total in (("Patient/p1/_history", 4), ("Patient/_history", 4)):
        answer = json.loads(server.call("GET", f"/fhir/{path}?_count=0").data)
        assert (answer["total"], "entry" in answer, [one["relation"] for one in answer["link"]]) == (
            total,
            False,
            ["self"],
        )
    hidden = server.call("GET", "/fhir/_history?_count=0", scope="system/Basic.rs")
    assert json.loads(hidden.data)["total"] == 1
    asked = {"_at=2026-12-02": 1, "_since=2026-12-03": 2, "_since=2026-12-02&_at=2026-12-02": 1}
    for query, total in asked.items():
        for scope in ("system/*.cruds", "system/Patient.rs"):
            answer = server.call("GET", f"/fhir/Patient/_history?_count=0&{query}", scope=scope)
            assert json.loads(answer.data)["total"] == total
    # Of what has to be looked at, fewer are counted than of what has not.
    limits = {"COUNTED": "system/Patient.rs?gender=female", "COUNTED_UNREAD": "system/*.cruds"}
    for limit, scope in limits.items():
        for most, has_total in ((4, True), (2, False)):
            monkeypatch.setattr(history, limit, most)
            told = json.loads(server.call("GET", "/fhir/Patient/_history?_count=0", scope=scope).data)
            assert ("total" in told) == has_total, limit


@pytest.mark.parametrize("place", ["Patient/p1/_history", "Patient/_history", "_history"])
def test_a_summary_that_counts_is_a_history_of_no_entries(server, place):
    """§3.1.1.5.4: a `_count` of 0 is treated as `_summary=count`, so that the one says what the other says."""
    lived(server)
    for query in ("_summary=count", "_count=1&_summary=count", "_count=0"):
        counted = server.call("GET", f"/fhir/{place}?{query}", scope="system/Patient.rs")
        told = json.loads(counted.data)
        assert (counted.status_code, told["type"], told["total"], "entry" in told) == (200, "history", 4, False)
        assert [(one["relation"], one["url"]) for one in told["link"]] == [("self", f"{BASE_URL}/{place}?{query}")]


def test_to_count_a_history_of_which_all_may_be_seen_no_version_is_read(server, monkeypatch):
    lived(server)
    monkeypatch.setattr(VersionReader, "past", None)
    assert json.loads(server.call("GET", "/fhir/Patient/_history?_count=0").data)["total"] == 4


@pytest.mark.parametrize("query", ["_sort=_lastUpdated", "_sort=name", "_list=l1"])
def test_what_would_make_another_history_of_it_is_refused(server, query):
    """§3.1.0.12: a history has the newest version first; `_list`, which R4 has, is not served."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    for path in ("Patient/p1/_history", "Patient/_history", "_history"):
        response = server.call("GET", f"/fhir/{path}?{query}")
        assert (response.status_code, code_of(response)) == (400, "search.unsupported")


def test_an_unknown_parameter_of_a_history_is_told_as_the_client_prefers(server):
    """§3.1.1.2: `handling=strict` refuses it, otherwise the self link has what was used (§3.1.1.6)."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    path = "/fhir/Patient/p1/_history?_sort=-_lastUpdated&name=x&_format=json"
    strict = server.call("GET", path, Prefer="handling=strict")
    assert (strict.status_code, code_of(strict)) == (400, "search.parameter")
    lenient = server.call("GET", path, Prefer="handling=lenient")
    assert link(lenient, "self") == f"{BASE_URL}/Patient/p1/_history?_sort=-_lastUpdated&_format=json"


def limited(server, number: int) -> list[str]:
    """Store Basics, every fifth of them one that a scope with a constraint admits; returns those, the newest first."""
    ours = []
    for place in range(number):
        name = f"b{place}"
        body = BASIC | {"id": name, "code": {"coding": [{"system": "urn:x", "code": "x" if place % 5 == 0 else "y"}]}}
        server.call("PUT", f"/fhir/Basic/{name}", body)
        ours = [name, *ours] if place % 5 == 0 else ours
    return ours


@pytest.mark.parametrize("path", ["_history", "Basic/_history"])
def test_pages_of_a_history_under_a_constraint_do_not_tell_how_much_is_hidden(server, path, monkeypatch):
    """A short page that has a next one would be one: it would count what the caller may not see."""
    monkeypatch.setattr(history, "_AT_ONCE", 4)
    ours = limited(server, 24)
    assert ours[0] == "b20"
    pages, address = [], f"/fhir/{path}?_count=2"
    while address:
        page = server.call("GET", address, scope="system/Basic.rs?code=urn:x|x")
        pages.append([row["resource"]["id"] for row in json.loads(page.data)["entry"]])
        following = link(page, "next")
        address = following and following.removeprefix("http://127.0.0.1:41000")
    assert pages == [ours[:2], ours[2:4], ours[4:]]


def test_a_page_of_a_history_looks_at_so_many_versions_and_no_more(server, monkeypatch):
    ours = limited(server, 12)
    monkeypatch.setattr(history, "LOOKED", 3)
    found, pages, address = [], 0, "/fhir/Basic/_history?_count=2"
    while address:
        page = server.call("GET", address, scope="system/Basic.rs?code=urn:x|x")
        found += [row["resource"]["id"] for row in json.loads(page.data).get("entry", [])]
        pages += 1
        following = link(page, "next")
        address = following and following.removeprefix("http://127.0.0.1:41000")
    assert (found, pages) == (ours, 4)


def test_a_first_version_tells_whether_the_node_or_the_client_chose_the_id(server):
    made = server.call("POST", "/fhir/Basic", BASIC).headers["Location"].split("/")[-3]
    server.call("PUT", "/fhir/Basic/b1", BASIC)
    rows = json.loads(server.call("GET", "/fhir/Basic/_history").data)["entry"]
    assert [(row["request"]["method"], row["request"]["url"], row["response"]["status"]) for row in rows] == [
        ("PUT", "Basic/b1", "201"),
        ("POST", "Basic", "201"),
    ]
    assert rows[1]["fullUrl"] == f"{BASE_URL}/Basic/{made}"


def test_what_is_deleted_is_gone_and_its_versions_stay(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    done = server.call("DELETE", "/fhir/Patient/p1")
    assert (done.status_code, done.headers["ETag"], done.data) == (204, 'W/"2"', b"")
    for path in ("/fhir/Patient/p1", "/fhir/Patient/p1/_history/2"):
        response = server.call("GET", path)
        assert (response.status_code, code_of(response)) == (410, "record.deleted")
    assert server.call("GET", "/fhir/Patient/p1/_history/1").status_code == 200
    assert server.call("DELETE", "/fhir/Patient/p1").headers["ETag"] == 'W/"2"'
    assert server.call("DELETE", "/fhir/Patient/none").status_code == 204
    assert server.call("GET", "/fhir/Patient/none/_history").status_code == 404
    assert server.store.count() == 2


def test_a_deletion_of_a_version_that_is_not_the_newest_is_refused(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = server.call("DELETE", "/fhir/Patient/p1", If_Match='W/"7"')
    assert (response.status_code, code_of(response)) == (412, "record.version")
    malformed = server.call("DELETE", "/fhir/Patient/p1", If_Match="foo")
    assert (malformed.status_code, code_of(malformed)) == (400, "request.etag")
    told_so = server.call("DELETE", "/fhir/Patient/p1", Prefer="return=OperationOutcome", If_Match='W/"1"')
    assert json.loads(told_so.data)["issue"][0]["severity"] == "information"


def test_what_was_erased_is_no_part_of_a_history(server):
    lived(server)
    for stored in server.store.history("Patient", "p1"):
        server.store.erase(stored.epoch_id, server.time[0])
    assert told(server.call("GET", "/fhir/Patient/p1/_history")) == []
    of_all = server.call("GET", "/fhir/_history", scope="system/Basic.rs system/Patient.rs")
    assert [url for _, url, _ in told(of_all)] == ["Basic/b1"]


def test_the_self_link_says_what_was_asked_for(server):
    """FHIR R4 Bundle.link, §3.1.0.12: what the server understood, and nothing else."""
    server.call("PUT", "/fhir/Patient/one", {"resourceType": "Patient", "id": "one"})
    answer = server.call("GET", "/fhir/Patient/one/_history?_count=5&_since=2020-01-01T00:00:00Z&name=x")
    links = {one["relation"]: one["url"] for one in json.loads(answer.data)["link"]}
    assert links == {"self": f"{BASE_URL}/Patient/one/_history?_count=5&_since=2020-01-01T00%3A00%3A00Z"}

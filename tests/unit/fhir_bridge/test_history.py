"""Histories, deletions and what comes back after them, from outside (FHIR R4 §3.1.0.7, §3.1.0.12)."""

from __future__ import annotations

import json

import pytest

from medchain.store.versions import Past, VersionReader

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
        ("POST", "Patient", 'W/"1"'),
    ]
    assert ["resource" in row for row in document["entry"]] == [True, False, True, True]
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


def test_histories_of_a_type_and_of_all(server):
    lived(server)
    assert len(told(server.call("GET", "/fhir/Patient/_history"))) == 4
    assert [url for _, url, _ in told(server.call("GET", "/fhir/_history"))].count("Basic") == 1
    assert [url for _, url, _ in told(server.call("GET", "/fhir/_history", scope="system/Basic.rs"))] == ["Basic"]
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


@pytest.mark.parametrize("query", ["_since=yesterday", "_at=x", "_count=0", "_count=-1", "_count=many"])
def test_what_cannot_be_read_is_refused(server, query):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = server.call("GET", f"/fhir/Patient/p1/_history?{query}")
    assert (response.status_code, code_of(response)) == (400, "search.value")


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
    told_so = server.call("DELETE", "/fhir/Patient/p1", Prefer="return=OperationOutcome", If_Match='W/"1"')
    assert json.loads(told_so.data)["issue"][0]["severity"] == "information"


def test_what_was_erased_is_no_part_of_a_history(server):
    lived(server)
    for stored in server.store.history("Patient", "p1"):
        server.store.erase(stored.epoch_id, server.time[0])
    assert told(server.call("GET", "/fhir/Patient/p1/_history")) == []
    assert [url for _, url, _ in told(server.call("GET", "/fhir/_history"))] == ["Basic"]

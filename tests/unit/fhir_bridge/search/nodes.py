"""A node's records with its index, for tests of searches from the stored record to the page."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl

from sqlalchemy import delete

from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.service import SearchService
from medchain.node.records import NewRecord, RecordService
from medchain.store import tables
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

NOW = 1_796_083_200
LEDGER = sha256(b"ledger").digest()
KEY = sha256(b"records").digest()
FILE_KEY = sha256(b"file").digest()


class Node:
    """Records, index and searches; the clock stands still until somebody moves it."""

    def __init__(self, folder: Path) -> None:
        """Open the file in a folder."""
        self.time = NOW
        self.database = open_database(folder / "records.db", FILE_KEY, kind=FileKind.RECORDS)
        self.store = RecordStore(self.database)
        self.open()

    def open(self, zone=None):
        """Begin anew on the same file, as another process does."""
        self.index = SearchIndex(self.store, zone=zone)
        self.service = RecordService(self.store, LEDGER, KEY, lambda: self.time, index=self.index)
        self.searches = SearchService(self.store, self.index, KEY, LEDGER, lambda: self.time)

    def wipe(self):
        """Forget all records."""
        with self.database.write("record") as connection:
            for table in (tables.outbox, tables.entry, tables.resource, tables.unmerged, tables.record):
                connection.execute(delete(table))

    def put(self, *resources: dict, patient=""):
        """Store resources, each as the next version; returns the numbers of their versions."""
        return [one.seq for one in self.service.create_many([self.record(one, patient) for one in resources])]

    def record(self, resource, patient=""):
        """Make what is stored of a resource."""
        name, record_id = resource["resourceType"], resource["id"]
        version = self.store.newest_version(name, record_id) + 1
        return NewRecord(name, record_id, json.dumps(resource).encode(), patient, version)

    def query(self, text):
        """Understand ``Type?name=value``."""
        name, _, rest = text.partition("?")
        return parse_query(parse_qsl(rest, keep_blank_values=True), name, self.searches.context())

    def search(self, text, **more: object):
        """Search."""
        return self.searches.search(self.query(text), **more)

    def names(self, numbers):
        """Name record versions: ``Type/id``."""
        with self.database.read("record") as connection:
            rows = connection.exec_driver_sql("SELECT seq, type, id FROM record").all()
        found = {row[0]: f"{row[1]}/{row[2]}" for row in rows}
        return [found[number] for number in numbers]

    def found(self, text, **more: object):
        """Search, and name the matches."""
        return self.names(self.search(text, **more).matches)

    def included(self, text, **more: object):
        """Search, and name what comes with the matches."""
        return sorted(self.names(self.search(text, **more).included))

    def pages(self, text, **more: object):
        """Search page by page; a step that is called between pages is given as ``between``."""
        between = more.pop("between", lambda: None)
        page = self.search(text, **more)
        found = [page]
        while page.next is not None:
            between()
            page = self.search(text, cursor=page.next, **more)
            found.append(page)
        return found

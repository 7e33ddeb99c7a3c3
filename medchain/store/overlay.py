"""What waits to be merged into the index, laid over it for one search, which needs no turn at writing and no disk.

On a connection of its own, views in SQLite's TEMP schema stand before the tables of the index: names without a schema
are looked for there first. A view is the table and what was laid over it, in memory; what is written into a view goes
there. So rows that wait are placed by the same statements as when they are merged, and searches are asked in the same
SQL. Keeps true: nothing of it reaches the file. Trusts SQLite to flatten the views, so that the tables' indexes are
used.
Source: sqlite.org/lang_createtrigger.html (INSTEAD OF), sqlite.org/lang_naming.html, sqlite.org/optoverview.html
(flattening of UNION ALL); `docs/adr/0035-index-rows-merged-in-bulk.md`, `docs/adr/0038-waiting-rows-laid-over.md`.
"""

from __future__ import annotations

from typing import Final

OVERLAY: Final = """
CREATE TEMP TABLE over_resource (
  number INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, updated BIGINT NOT NULL, replaced BIGINT NOT NULL);
CREATE INDEX temp.over_resource_by_id ON over_resource (type, id, number);
CREATE TEMP TABLE over_replaced (number INTEGER PRIMARY KEY, replaced BIGINT NOT NULL);
CREATE TEMP VIEW resource AS
  SELECT number, type, id, updated, CAST(ifnull(
    (SELECT over.replaced FROM over_replaced AS over WHERE over.number = below.number), below.replaced
  ) AS INTEGER) AS replaced FROM main.resource AS below
  UNION ALL SELECT number, type, id, updated, replaced FROM over_resource;
CREATE TEMP TRIGGER over_resource_put INSTEAD OF INSERT ON resource BEGIN
  INSERT INTO over_resource VALUES (NEW.number, NEW.type, NEW.id, NEW.updated, NEW.replaced);
END;
CREATE TEMP TRIGGER over_resource_replaced INSTEAD OF UPDATE ON resource BEGIN
  UPDATE over_resource SET replaced = NEW.replaced WHERE number = NEW.number;
  INSERT OR REPLACE INTO over_replaced VALUES (NEW.number, NEW.replaced);
END;

CREATE TEMP TABLE over_entry (
  resource BIGINT NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL, "key" TEXT NOT NULL,
  detail INTEGER NOT NULL, low DOUBLE NOT NULL, high DOUBLE NOT NULL,
  PRIMARY KEY (resource, number, place, "key", detail, low, high)) WITHOUT ROWID;
CREATE INDEX temp.over_entry_by_key ON over_entry (number, "key", low, resource);
CREATE TEMP VIEW entry AS
  SELECT resource, number, place, "key", detail, low, high FROM main.entry
  UNION ALL SELECT resource, number, place, "key", detail, low, high FROM over_entry;
CREATE TEMP TRIGGER over_entry_put INSTEAD OF INSERT ON entry BEGIN
  INSERT INTO over_entry VALUES (NEW.resource, NEW.number, NEW.place, NEW."key", NEW.detail, NEW.low, NEW.high);
END;

CREATE TEMP TABLE over_detail (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TEMP VIEW detail AS
  SELECT number, text FROM main.detail UNION ALL SELECT number, text FROM over_detail;
CREATE TEMP TRIGGER over_detail_put INSTEAD OF INSERT ON detail BEGIN
  INSERT INTO over_detail SELECT min(ifnull(min(number), 0), 0) - 1, NEW.text FROM over_detail;
END;

CREATE TEMP VIEW unindexed AS SELECT number FROM main.unindexed;
CREATE TEMP TRIGGER over_unindexed_drop INSTEAD OF DELETE ON unindexed BEGIN SELECT 1; END;
"""
"""The views, what lies over each table, and where that which is written into them goes; details of its own have numbers
below 0, which the file never gives."""

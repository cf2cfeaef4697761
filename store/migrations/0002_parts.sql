-- Which parts are made, and how often they are merged: with so many columns, what a part costs to write and to merge
-- depends more on its files than on its rows (docs/decisions/0017-compact-inserts-wide-merges.md has figures).
-- An insert writes all columns into one file. The first merge of such parts writes a file for each column, and is
-- done column by column whatever the size.
-- Merges wait for twice as many parts of like size as by default, so that a row is merged less often.

ALTER TABLE {{.DB}}.events{{.OnCluster}} MODIFY SETTING min_bytes_for_wide_part = 0, min_level_for_wide_part = 1, merge_selector_base = 10;

ALTER TABLE {{.DB}}.events_1m{{.OnCluster}} MODIFY SETTING merge_selector_base = 10;

ALTER TABLE {{.DB}}.entity_1h{{.OnCluster}} MODIFY SETTING merge_selector_base = 10;

ALTER TABLE {{.DB}}.ingest_ledger{{.OnCluster}} MODIFY SETTING merge_selector_base = 10;

-- What a part needs not have (docs/decisions/0019-less-in-an-insert.md).
-- From 26.4 on a merge makes statistics of every column, for joins and for skipping parts. Our queries join nothing
-- large, and skip by time and by index.
-- In a part of one file, a mark a column is enough: one of each of its streams is read and packed for every column that a merge
-- takes from it.

ALTER TABLE {{.DB}}.events{{.OnCluster}} MODIFY SETTING auto_statistics_types = '', write_marks_for_substreams_in_compact_parts = 0;

ALTER TABLE {{.DB}}.events_1m{{.OnCluster}} MODIFY SETTING auto_statistics_types = '';

ALTER TABLE {{.DB}}.entity_1h{{.OnCluster}} MODIFY SETTING auto_statistics_types = '';

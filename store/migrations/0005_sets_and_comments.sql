-- entity_1h keeps 16 names of a set. The view joined the sets of rows that were not merged yet without a cut, so its
-- answer shrank with a merge. Now 16 names are 16 or more at any time, and fewer are all, in order.

CREATE OR REPLACE VIEW {{.DB}}.v_sessions{{.OnCluster}} AS
SELECT tenant, entity AS session, min(r.first_seen) AS started, max(r.last_seen) AS ended, age('second', started, ended) AS seconds,
       sum(r.events) AS events, sum(r.failures) AS failures, sum(r.denied) AS denied, sum(r.findings) AS findings,
       sum(r.bytes_in) AS bytes_in, sum(r.bytes_out) AS bytes_out, max(r.max_ms) AS max_ms, CAST(max(r.worst), 'Enum8(\'\' = 0, \'debug\' = 1, \'info\' = 2, \'low\' = 3, \'medium\' = 4, \'high\' = 5, \'critical\' = 6)') AS worst,
       arraySort(groupUniqArrayArray(16)(r.clients)) AS clients, arraySort(groupUniqArrayArray(16)(r.sources)) AS sources,
       arraySort(groupUniqArrayArray(16)(r.servers)) AS servers, arraySort(groupUniqArrayArray(16)(r.tools)) AS tools
FROM {{.DB}}.entity_1h AS r
WHERE kind = 'session'
GROUP BY tenant, session;

-- What DESCRIBE TABLE says of columns is what docs/columns.txt says; some of it was not so.

ALTER TABLE {{.DB}}.events{{.OnCluster}}
    COMMENT COLUMN IF EXISTS time 'the time that counts: the producer''s, or arrival where that was out of bounds',
    COMMENT COLUMN IF EXISTS observed 'when the broker appended the record',
    COMMENT COLUMN IF EXISTS claimed 'what the producer wrote as time, only where it was out of bounds',
    COMMENT COLUMN IF EXISTS id 'the event''s id, a UUIDv7 where possible. With server.instance it is the event''s identity for rules',
    COMMENT COLUMN IF EXISTS mcp_resource 'URI of the resource, reduced to scheme, depth and extension',
    COMMENT COLUMN IF EXISTS mcp_resource_hash 'pseudonym of the whole URI, to find equal ones',
    COMMENT COLUMN IF EXISTS retention_days 'how long the row stays, by severity';

ALTER TABLE {{.DB}}.events_1m{{.OnCluster}}
    COMMENT COLUMN IF EXISTS client_names 'only for an INSERT, which brings names: kept is how many there are, in clients',
    COMMENT COLUMN IF EXISTS batches 'for the writer: batches whose first row went in here',
    COMMENT COLUMN IF EXISTS source_names 'the same, for sources',
    COMMENT COLUMN IF EXISTS session_names 'the same, for sessions';

ALTER TABLE {{.DB}}.entity_1h{{.OnCluster}}
    COMMENT COLUMN IF EXISTS failures 'of them with outcome failure, denied or error',
    COMMENT COLUMN IF EXISTS worst 'the highest severity as a number, 0 (none) to 6 (critical)',
    COMMENT COLUMN IF EXISTS clients 'with which clients: 16 of them stand for 16 or more; empty of a client itself',
    COMMENT COLUMN IF EXISTS sources 'from which addresses: 16 of them stand for 16 or more; empty of a source itself',
    COMMENT COLUMN IF EXISTS batches 'for the writer: batches whose first row went in here',
    COMMENT COLUMN IF EXISTS servers 'with which servers: 16 of them stand for 16 or more',
    COMMENT COLUMN IF EXISTS tools 'with which tools: 16 of them stand for 16 or more';

ALTER TABLE {{.DB}}.dead_letters{{.OnCluster}}
    COMMENT COLUMN IF EXISTS stage 'where it was refused: decode, validate',
    COMMENT COLUMN IF EXISTS reason 'the same as error, under the name that headers and picket dead use';

ALTER TABLE {{.DB}}.alerts{{.OnCluster}}
    COMMENT COLUMN IF EXISTS version 'grows with count and settled; the highest row of an alert is valid, which v_alerts shows';

ALTER TABLE {{.DB}}.alert_actions{{.OnCluster}}
    COMMENT COLUMN IF EXISTS actor 'who: a person''s account or the name of an integration';

ALTER TABLE {{.DB}}.deliveries{{.OnCluster}}
    COMMENT COLUMN IF EXISTS outcome 'sent, failed, or skipped because nobody wants it';

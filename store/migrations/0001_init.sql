-- What Picket stores. Rendered with the database's name and the engine family; every statement may run twice.

CREATE DATABASE IF NOT EXISTS {{.DB}}{{.OnCluster}};

-- One row per event. A column is a field's name with _ for the dot (net.ip is net_ip); values are public forms only.
-- * Tenant first for row policies, a five-minute bucket second so that time ranges and "latest" read in order; within it the
--   order of arrival, in which offsets, sequence numbers and times compress best.
-- * Partitions are days of arrival, not of claimed time: a wild timestamp must not shatter the table.
-- * Rows go by severity: debug and info after 30 days, low and medium 90, high and critical 400. Partitions by retention
--   would let whole parts drop, and double what an insert costs (docs/decisions/0011-retention-by-row.md).
-- * Pseudonyms that repeat are LowCardinality: 1/5 of the bytes and 1/3 of the read time of String (doc.go has figures).
-- * Kafka coordinates in every row: the identity of a stored event, for audit and replay.
CREATE TABLE IF NOT EXISTS {{.DB}}.events{{.OnCluster}}
(
    tenant              LowCardinality(String),
    time                DateTime64(3, 'UTC') COMMENT 'the time that counts: claimed, or arrival where the claim was out of bounds' CODEC(Delta(8), ZSTD(1)),
    observed            DateTime64(3, 'UTC') COMMENT 'when the broker appended it' CODEC(Delta(8), ZSTD(1)),
    claimed             Nullable(DateTime64(3, 'UTC')) COMMENT 'what the producer wrote, only where it was out of bounds' CODEC(ZSTD(1)),
    time_flagged        Bool CODEC(ZSTD(1)),
    late                Bool CODEC(ZSTD(1)),
    id                  String COMMENT 'with server_instance the identity that the producer gave' CODEC(ZSTD(1)),
    seq                 Nullable(UInt64) CODEC(Delta(8), ZSTD(1)),
    type                LowCardinality(String),
    outcome             Enum8('unknown' = 0, 'success' = 1, 'failure' = 2, 'denied' = 3, 'error' = 4) CODEC(ZSTD(1)),
    reason              LowCardinality(String),
    severity            Enum8('' = 0, 'debug' = 1, 'info' = 2, 'low' = 3, 'medium' = 4, 'high' = 5, 'critical' = 6) CODEC(ZSTD(1)),
    env                 LowCardinality(String),

    server_name         LowCardinality(String) CODEC(ZSTD(1)),
    server_version      LowCardinality(String),
    server_instance     LowCardinality(String) CODEC(ZSTD(1)),
    server_address      LowCardinality(String) CODEC(ZSTD(1)),
    server_transport    LowCardinality(String),

    actor_subject       LowCardinality(String) CODEC(ZSTD(1)),
    actor_client_id     LowCardinality(String) CODEC(ZSTD(1)),
    actor_token         LowCardinality(String) CODEC(ZSTD(1)),
    actor_issuer        LowCardinality(String),
    actor_auth_method   LowCardinality(String),
    actor_token_exp     Nullable(Int64) CODEC(ZSTD(1)),
    actor_audience      Array(LowCardinality(String)) CODEC(ZSTD(1)),
    actor_scopes        Array(LowCardinality(String)) CODEC(ZSTD(1)),
    actor_roles         Array(LowCardinality(String)) CODEC(ZSTD(1)),
    actor_delegation    Array(LowCardinality(String)) CODEC(ZSTD(1)),
    actor_delegation_truncated Bool CODEC(ZSTD(1)),

    client_name         LowCardinality(String) CODEC(ZSTD(1)),
    client_version      LowCardinality(String) CODEC(ZSTD(1)),
    client_user_agent   LowCardinality(String) CODEC(ZSTD(1)),

    net_ip              LowCardinality(String) CODEC(ZSTD(1)),
    net_ip_prefix       LowCardinality(String) CODEC(ZSTD(1)),
    net_ip_class        LowCardinality(String),
    net_asn             Nullable(UInt32) CODEC(ZSTD(1)),
    net_country         LowCardinality(String),
    net_port            Nullable(UInt16) CODEC(ZSTD(1)),
    net_tls             LowCardinality(String),
    net_origin          LowCardinality(String) CODEC(ZSTD(1)),
    net_host            LowCardinality(String) CODEC(ZSTD(1)),
    net_xff_trusted     Bool CODEC(ZSTD(1)),

    mcp_method          LowCardinality(String),
    mcp_protocol_version LowCardinality(String),
    mcp_request_id      String CODEC(ZSTD(1)),
    mcp_tool            LowCardinality(String) CODEC(ZSTD(1)),
    mcp_prompt          LowCardinality(String) CODEC(ZSTD(1)),
    mcp_resource        LowCardinality(String) COMMENT 'reduced: scheme, depth, extension' CODEC(ZSTD(1)),
    mcp_resource_hash   LowCardinality(String) COMMENT 'pseudonym of the whole value, for equality' CODEC(ZSTD(1)),
    mcp_session         LowCardinality(String) CODEC(ZSTD(1)),
    mcp_handle          LowCardinality(String) CODEC(ZSTD(1)),
    mcp_definition_hash LowCardinality(String) CODEC(ZSTD(1)),
    mcp_is_error        Bool CODEC(ZSTD(1)),
    mcp_error_code      Nullable(Int32) CODEC(ZSTD(1)),
    mcp_result_type     LowCardinality(String),
    mcp_cache_scope     LowCardinality(String),

    http_status         Nullable(UInt16) CODEC(ZSTD(1)),
    http_path           LowCardinality(String) CODEC(ZSTD(1)),
    http_path_hash      LowCardinality(String) CODEC(ZSTD(1)),
    http_www_authenticate_error LowCardinality(String),

    perm_resource       LowCardinality(String) CODEC(ZSTD(1)),
    perm_resource_hash  LowCardinality(String) CODEC(ZSTD(1)),
    perm_action         LowCardinality(String) CODEC(ZSTD(1)),
    perm_required       Array(LowCardinality(String)) CODEC(ZSTD(1)),
    perm_policy         LowCardinality(String) CODEC(ZSTD(1)),
    perm_source         LowCardinality(String),

    io_args_digest      String CODEC(ZSTD(1)),
    io_args_bytes       Nullable(UInt64) CODEC(T64, ZSTD(1)),
    io_args_depth       Nullable(UInt16) CODEC(ZSTD(1)),
    io_result_digest    String CODEC(ZSTD(1)),
    io_result_bytes     Nullable(UInt64) CODEC(T64, ZSTD(1)),
    io_rows             Nullable(UInt64) CODEC(T64, ZSTD(1)),
    io_truncated        Bool CODEC(ZSTD(1)),
    io_duration_ms      Nullable(Float64) CODEC(ZSTD(1)),
    io_egress_hosts     Array(LowCardinality(String)) CODEC(ZSTD(1)),
    findings            Nested(cat LowCardinality(String), rule LowCardinality(String), dir LowCardinality(String),
                               at String, score Float32, digest String, excerpt String) CODEC(ZSTD(1)),

    limit_name          LowCardinality(String),
    limit_limit         Nullable(Float64) CODEC(ZSTD(1)),
    limit_window_s      Nullable(Float64) CODEC(ZSTD(1)),
    limit_observed      Nullable(Float64) CODEC(ZSTD(1)),

    trace_id            String CODEC(ZSTD(1)),
    span_id             String CODEC(ZSTD(1)),

    src_format          LowCardinality(String),
    src_producer        LowCardinality(String) CODEC(ZSTD(1)),
    src_loop            Bool CODEC(ZSTD(1)),
    schema              LowCardinality(String),
    labels              Map(LowCardinality(String), String) CODEC(ZSTD(1)),

    key_id              LowCardinality(String) COMMENT 'which key made the pseudonyms of this row',
    pseudonyms          Array(LowCardinality(String)) COMMENT 'which plain or free fields hold a pseudonym instead of their text' CODEC(ZSTD(1)),
    up                  Array(LowCardinality(String)) COMMENT 'which fields the producer had hashed before' CODEC(ZSTD(1)),
    plain_labels        Array(LowCardinality(String)) COMMENT 'which labels are readable; the others are pseudonyms' CODEC(ZSTD(1)),
    retention_days      UInt16 DEFAULT 90 COMMENT 'by severity, chosen by the writer' CODEC(ZSTD(1)),

    kafka_topic         LowCardinality(String),
    kafka_partition     UInt16 CODEC(ZSTD(1)),
    kafka_offset        UInt64 CODEC(Delta(8), ZSTD(1)),

    INDEX ix_id         id              TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_subject    actor_subject   TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_client     actor_client_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_ip         net_ip          TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_session    mcp_session     TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_trace      trace_id        TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_tool       mcp_tool        TYPE set(256) GRANULARITY 2,
    INDEX ix_severity   severity        TYPE set(8) GRANULARITY 2,
    INDEX ix_findings   findings.cat    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_offset     kafka_offset    TYPE minmax GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMMDD(observed)
ORDER BY (tenant, toStartOfFiveMinutes(time), server_name, type, kafka_partition, kafka_offset)
TTL toDateTime(observed) + toIntervalDay(retention_days)
-- Small parts are merged column by column too: in rows, so many columns cost four times as much.
SETTINGS vertical_merge_algorithm_min_rows_to_activate = 1, {{.Dedup}};

-- Roll-up by minute, made by the writer: what a batch adds is one insert, with a token and a window of its own.
CREATE TABLE IF NOT EXISTS {{.DB}}.events_1m{{.OnCluster}}
(
    tenant      LowCardinality(String),
    minute      DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    server_name LowCardinality(String),
    type        LowCardinality(String),
    mcp_tool    LowCardinality(String),
    outcome     Enum8('unknown' = 0, 'success' = 1, 'failure' = 2, 'denied' = 3, 'error' = 4),
    severity    Enum8('' = 0, 'debug' = 1, 'info' = 2, 'low' = 3, 'medium' = 4, 'high' = 5, 'critical' = 6),
    events      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes_in    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes_out   SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    findings    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first_seen  SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    max_ms      SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    client_names  Array(String) EPHEMERAL COMMENT 'what an insert brings; kept is only how many there are',
    source_names  Array(String) EPHEMERAL,
    session_names Array(String) EPHEMERAL,
    clients     AggregateFunction(uniqCombined64, String) DEFAULT arrayReduce('uniqCombined64State', client_names) CODEC(ZSTD(1)),
    sources     AggregateFunction(uniqCombined64, String) DEFAULT arrayReduce('uniqCombined64State', source_names) CODEC(ZSTD(1)),
    sessions    AggregateFunction(uniqCombined64, String) DEFAULT arrayReduce('uniqCombined64State', session_names) CODEC(ZSTD(1)),
    batches     SimpleAggregateFunction(groupUniqArrayArray, Array(String)) COMMENT 'the batches whose first row went in here: by it a redo sees that all of their rows did' CODEC(ZSTD(1))
)
ENGINE = {{engine "AggregatingMergeTree"}}
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, server_name, type, mcp_tool, outcome, severity, minute)
TTL minute + INTERVAL 400 DAY
SETTINGS {{.Dedup}};


-- Roll-up by hour of each client, source and session: who was seen when, how often it failed, and with whom. Sets
-- are cut at 16: they say with whom, not how many.
CREATE TABLE IF NOT EXISTS {{.DB}}.entity_1h{{.OnCluster}}
(
    tenant      LowCardinality(String),
    kind        Enum8('client' = 1, 'source' = 2, 'session' = 3),
    entity      String CODEC(ZSTD(1)),
    hour        DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    events      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    failures    SimpleAggregateFunction(sum, UInt64) COMMENT 'outcome failure, denied or error' CODEC(T64, ZSTD(1)),
    denied      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    findings    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes_in    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes_out   SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    max_ms      SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    worst       SimpleAggregateFunction(max, Int8) COMMENT 'the highest severity, as a number' CODEC(ZSTD(1)),
    first_seen  SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    servers     SimpleAggregateFunction(groupUniqArrayArray(16), Array(String)) CODEC(ZSTD(1)),
    tools       SimpleAggregateFunction(groupUniqArrayArray(16), Array(String)) CODEC(ZSTD(1)),
    clients     SimpleAggregateFunction(groupUniqArrayArray(16), Array(String)) COMMENT 'not of a client itself' CODEC(ZSTD(1)),
    sources     SimpleAggregateFunction(groupUniqArrayArray(16), Array(String)) COMMENT 'not of a source itself' CODEC(ZSTD(1)),
    batches     SimpleAggregateFunction(groupUniqArrayArray, Array(String)) COMMENT 'as in events_1m' CODEC(ZSTD(1))
)
ENGINE = {{engine "AggregatingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, kind, entity, hour)
TTL hour + INTERVAL 400 DAY
SETTINGS {{.Dedup}};


-- Records that could not become an event. The bytes stay in Kafka: nothing here holds a payload.
-- These and the ledger are kept for longer than Kafka may keep raw records, so that an audit finds them.
CREATE TABLE IF NOT EXISTS {{.DB}}.dead_letters{{.OnCluster}}
(
    observed        DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    stage           LowCardinality(String) COMMENT 'decode, validate, redact, store ...',
    class           LowCardinality(String),
    error           String CODEC(ZSTD(1)),
    payload_bytes   UInt32 CODEC(ZSTD(1)),
    payload_digest  String COMMENT 'keyed and short: tells repeats, not content' CODEC(ZSTD(1)),
    kafka_topic     LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset    UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMMDD(observed)
ORDER BY (kafka_topic, kafka_partition, kafka_offset)
TTL toDateTime(observed) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, {{.Dedup}};

-- Written last: a row here means that everything of the range [first_offset, end_offset) is stored.
CREATE TABLE IF NOT EXISTS {{.DB}}.ingest_ledger{{.OnCluster}}
(
    kafka_topic     LowCardinality(String),
    kafka_partition UInt16,
    first_offset    UInt64,
    end_offset      UInt64,
    events          UInt32,
    dead            UInt32,
    instance        LowCardinality(String),
    generation      Int32,
    stored_at       DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {{engine "ReplacingMergeTree" "stored_at"}}
PARTITION BY toYYYYMM(stored_at)
ORDER BY (kafka_topic, kafka_partition, first_offset, end_offset)
TTL toDateTime(stored_at) + INTERVAL 90 DAY
SETTINGS {{.Dedup}};

-- One alert is (rule, group, bucket). It is written again as it grows; the newest (count, settled) stays.
CREATE TABLE IF NOT EXISTS {{.DB}}.alerts{{.OnCluster}}
(
    tenant           LowCardinality(String),
    alert_id         String CODEC(ZSTD(1)),
    rule_id          LowCardinality(String),
    rule_name        LowCardinality(String),
    rule_hash        LowCardinality(String),
    rule_title       LowCardinality(String),
    rule_description LowCardinality(String),
    rule_tags        Array(LowCardinality(String)),
    rule_runbook     LowCardinality(String),
    rule_references  Array(LowCardinality(String)),
    rule_window      LowCardinality(String),
    mode             LowCardinality(String),
    severity         Enum8('' = 0, 'debug' = 1, 'info' = 2, 'low' = 3, 'medium' = 4, 'high' = 5, 'critical' = 6),
    group_id         String CODEC(ZSTD(1)),
    `group`          Nested(field LowCardinality(String), value String, key LowCardinality(String)) CODEC(ZSTD(1)),
    bucket_start     DateTime64(3, 'UTC'),
    bucket_end       DateTime64(3, 'UTC'),
    first            DateTime64(3, 'UTC'),
    last             DateTime64(3, 'UTC'),
    fired_at         DateTime64(3, 'UTC'),
    count            UInt64,
    value            Float64,
    threshold        Float64,
    settled          Bool,
    why              String CODEC(ZSTD(1)),
    title            String CODEC(ZSTD(1)),
    evidence         Nested(event_id String, time DateTime64(3, 'UTC'), partition UInt16, offset UInt64,
                            server LowCardinality(String), type LowCardinality(String), outcome LowCardinality(String),
                            tool LowCardinality(String), finding LowCardinality(String),
                            context Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    version          UInt64 COMMENT 'count and settled: it only grows',
    INDEX ix_rule rule_id TYPE set(512) GRANULARITY 1,
    INDEX ix_id   alert_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = {{engine "ReplacingMergeTree" "version"}}
PARTITION BY toYYYYMM(bucket_start)
ORDER BY (tenant, bucket_start, alert_id)
TTL toDateTime(bucket_start) + INTERVAL 400 DAY
SETTINGS {{.Dedup}};

-- What people did about an alert. Append-only and apart, so that an acknowledgement cannot lose a race with a count.
CREATE TABLE IF NOT EXISTS {{.DB}}.alert_actions{{.OnCluster}}
(
    tenant    LowCardinality(String),
    alert_id  String CODEC(ZSTD(1)),
    at        DateTime64(3, 'UTC') DEFAULT now64(3),
    state     Enum8('open' = 1, 'acked' = 2, 'resolved' = 3, 'suppressed' = 4),
    actor     LowCardinality(String) COMMENT 'a pseudonym, or the name of an integration',
    note      String CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, alert_id, at)
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS {{.Dedup}};

-- What was told where.
CREATE TABLE IF NOT EXISTS {{.DB}}.deliveries{{.OnCluster}}
(
    at          DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant      LowCardinality(String),
    alert_id    String CODEC(ZSTD(1)),
    destination LowCardinality(String),
    outcome     LowCardinality(String) COMMENT 'sent, updated, refused, dropped ...',
    thread      String CODEC(ZSTD(1)),
    error       String CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, alert_id, destination, at)
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS {{.Dedup}};

-- Alerts as they stand, with the last action and where they were told.
CREATE OR REPLACE VIEW {{.DB}}.v_alerts{{.OnCluster}} AS
SELECT a.tenant AS tenant, a.alert_id AS alert_id, a.* EXCEPT (tenant, alert_id),
       if(last_state = '', 'open', last_state) AS state, state_by, state_at, note, told
FROM (SELECT * FROM {{.DB}}.alerts FINAL) AS a
LEFT JOIN
(
    SELECT tenant, alert_id, toString(argMax(state, at)) AS last_state, argMax(actor, at) AS state_by, max(at) AS state_at, argMax(note, at) AS note
    FROM {{.DB}}.alert_actions
    GROUP BY tenant, alert_id
) AS act USING (tenant, alert_id)
LEFT JOIN
(
    SELECT tenant, alert_id, groupUniqArray(toString(destination)) AS told
    FROM {{.DB}}.deliveries
    WHERE outcome IN ('sent', 'updated')
    GROUP BY tenant, alert_id
) AS tl USING (tenant, alert_id);

-- What happened, for reading: the columns that fit a screen.
CREATE OR REPLACE VIEW {{.DB}}.v_timeline{{.OnCluster}} AS
SELECT time, tenant, server_name, type, outcome, reason, severity,
       actor_client_id AS client, actor_subject AS subject, net_ip AS source, mcp_session AS session,
       mcp_method AS method, mcp_tool AS tool, if(mcp_resource != '', mcp_resource, perm_resource) AS resource,
       arrayStringConcat(arrayDistinct(arrayMap(x -> toString(x), findings.cat)), ', ') AS seen,
       io_duration_ms AS ms, late, kafka_topic, kafka_partition, kafka_offset
FROM {{.DB}}.events;

-- Sessions of MCP, by hour rows of the roll-up: two clients or two sources of one session are worth a look.
CREATE OR REPLACE VIEW {{.DB}}.v_sessions{{.OnCluster}} AS
SELECT tenant, entity AS session, min(r.first_seen) AS started, max(r.last_seen) AS ended, age('second', started, ended) AS seconds,
       sum(r.events) AS events, sum(r.failures) AS failures, sum(r.denied) AS denied, sum(r.findings) AS findings,
       sum(r.bytes_in) AS bytes_in, sum(r.bytes_out) AS bytes_out, max(r.max_ms) AS max_ms, CAST(max(r.worst), 'Enum8(\'\' = 0, \'debug\' = 1, \'info\' = 2, \'low\' = 3, \'medium\' = 4, \'high\' = 5, \'critical\' = 6)') AS worst,
       groupUniqArrayArray(r.clients) AS clients, groupUniqArrayArray(r.sources) AS sources,
       groupUniqArrayArray(r.servers) AS servers, groupUniqArrayArray(r.tools) AS tools
FROM {{.DB}}.entity_1h AS r
WHERE kind = 'session'
GROUP BY tenant, session;

-- What each tool was used for, by hour.
CREATE OR REPLACE VIEW {{.DB}}.v_tool_usage{{.OnCluster}} AS
SELECT tenant, toStartOfHour(minute) AS hour, server_name, mcp_tool AS tool,
       sum(r.events) AS calls, sumIf(r.events, outcome = 'denied') AS denied, sumIf(r.events, outcome IN ('failure', 'error')) AS failed,
       sum(r.findings) AS findings, sum(r.bytes_in) AS bytes_in, sum(r.bytes_out) AS bytes_out, max(r.max_ms) AS max_ms,
       uniqCombined64Merge(r.clients) AS clients, uniqCombined64Merge(r.sessions) AS sessions,
       min(r.first_seen) AS first_seen, max(r.last_seen) AS last_seen
FROM {{.DB}}.events_1m AS r
WHERE type = 'tool_call'
GROUP BY tenant, hour, server_name, tool;

-- One row per piece of evidence of an alert. It needs no event: what it names may have expired already.
CREATE OR REPLACE VIEW {{.DB}}.v_alert_evidence{{.OnCluster}} AS
SELECT tenant, alert_id, rule_id, rule_title, severity, fired_at, state,
       ev.1 AS event_id, ev.2 AS time, ev.3 AS kafka_partition, ev.4 AS kafka_offset, ev.5 AS server_name, ev.6 AS type,
       ev.7 AS outcome, ev.8 AS tool, ev.9 AS finding, ev.10 AS context
FROM {{.DB}}.v_alerts
ARRAY JOIN arrayZip(evidence.event_id, evidence.time, evidence.partition, evidence.offset, evidence.server, evidence.type,
                    evidence.outcome, evidence.tool, evidence.finding, evidence.context) AS ev;

-- Which rules cost attention, by day: many alerts, few of them acted on, is what to tune first.
CREATE OR REPLACE VIEW {{.DB}}.v_rule_noise{{.OnCluster}} AS
SELECT tenant, toDate(bucket_start) AS day, rule_id, any(rule_title) AS title, max(severity) AS worst,
       count() AS alerts, uniqExact(group_id) AS groups, sum(v_alerts.count) AS events, countIf(notEmpty(told)) AS told_alerts,
       countIf(state = 'open') AS open, countIf(state = 'acked') AS acked, countIf(state = 'resolved') AS resolved,
       countIf(state = 'suppressed') AS suppressed,
       round((open + suppressed) / alerts, 3) AS ignored_share,
       round(avgIf(dateDiff('second', fired_at, state_at), state != 'open'), 0) AS seconds_to_action, max(fired_at) AS last_fired
FROM {{.DB}}.v_alerts
GROUP BY tenant, day, rule_id;

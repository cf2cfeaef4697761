-- Analysts: they read events, roll-ups and alerts, within limits, and see the tenants that a policy gives them.
-- Views run with the rights of who asks, so that policies hold through them; that is why the tables are granted too.

CREATE ROLE IF NOT EXISTS picket_analyst;
GRANT SELECT ON picket.events TO picket_analyst;
GRANT SELECT ON picket.events_1m TO picket_analyst;
GRANT SELECT ON picket.entity_1h TO picket_analyst;
GRANT SELECT ON picket.alerts TO picket_analyst;
GRANT SELECT ON picket.alert_actions TO picket_analyst;
GRANT SELECT ON picket.deliveries TO picket_analyst;
GRANT SELECT ON picket.v_timeline TO picket_analyst;
GRANT SELECT ON picket.v_alerts TO picket_analyst;
GRANT SELECT ON picket.v_sessions TO picket_analyst;
GRANT SELECT ON picket.v_tool_usage TO picket_analyst;
GRANT SELECT ON picket.v_alert_evidence TO picket_analyst;
GRANT SELECT ON picket.v_rule_noise TO picket_analyst;
-- Acknowledging (`picket alerts ack`) is adding a row; nothing else may be written.
CREATE ROLE IF NOT EXISTS picket_responder;
GRANT picket_analyst TO picket_responder;
-- Not `at`: the server says when, so that nobody can have the last word for ever. Name and tenant are as they are written:
-- a row policy bounds what is read, and responders are trusted with every tenant.
GRANT INSERT(tenant, alert_id, state, actor, note) ON picket.alert_actions TO picket_responder;

-- One question must not starve the writer. readonly = 2 lets a client choose its format and time zone, not leave these
-- bounds; it would refuse the INSERT of responders, whose limits are the same without it.
CREATE SETTINGS PROFILE IF NOT EXISTS picket_limits SETTINGS
    max_execution_time = 30 MAX 120,
    max_memory_usage = 4000000000 MAX 8000000000,
    max_bytes_to_read = 50000000000 MAX 200000000000,
    max_result_rows = 100000 MAX 1000000,
    result_overflow_mode = 'break',
    max_threads = 4 MAX 8,
    max_concurrent_queries_for_user = 8 CONST,
    priority = 10 CONST;
CREATE SETTINGS PROFILE IF NOT EXISTS picket_analyst SETTINGS INHERIT 'picket_limits', readonly = 2 CONST TO picket_analyst EXCEPT picket_responder;
CREATE SETTINGS PROFILE IF NOT EXISTS picket_responder SETTINGS INHERIT 'picket_limits' TO picket_responder;

CREATE QUOTA IF NOT EXISTS picket_analyst KEYED BY user_name
    FOR INTERVAL 1 minute MAX queries = 120,
    FOR INTERVAL 1 hour MAX queries = 2000, read_rows = 20000000000, execution_time = 1800
    TO picket_analyst;

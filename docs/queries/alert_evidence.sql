-- The events behind the alerts of the last day
-- One row per piece of evidence, the newest alert first, with who did it, as long as the event is stored: debug and info go
-- after 30 days, the evidence itself stays with the alert.
WITH recent AS (SELECT * FROM picket.v_alert_evidence WHERE fired_at > now() - INTERVAL 1 DAY)
SELECT r.rule_id AS rule, r.severity AS severity, r.alert_id AS alert, r.state AS state, r.time AS time, r.server_name AS server,
       r.type AS type, r.outcome AS outcome, r.tool AS tool, r.finding AS finding, e.actor_client_id AS client, e.net_ip AS source,
       e.mcp_session AS session
FROM recent AS r
LEFT JOIN
(
    SELECT kafka_partition, kafka_offset, tenant, actor_client_id, net_ip, mcp_session
    FROM picket.events
    WHERE (kafka_partition, kafka_offset) IN (SELECT kafka_partition, kafka_offset FROM recent)
) AS e ON e.tenant = r.tenant AND e.kafka_partition = r.kafka_partition AND e.kafka_offset = r.kafka_offset
ORDER BY r.fired_at DESC, alert, time
LIMIT 200

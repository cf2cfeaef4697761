-- What the client behind the newest high alert did
-- Takes the newest alert of severity high or critical, follows its first evidence to the client, and shows what that client
-- did around it: the hundred events nearest to the alert's. What a client asks about a server before it works with it is left out.
WITH
    (SELECT (tenant, evidence.partition[1], evidence.offset[1]) FROM picket.v_alerts
     WHERE severity >= 'high' AND length(evidence.offset) > 0 ORDER BY fired_at DESC, alert_id LIMIT 1) AS alert,
    (SELECT (actor_client_id, net_ip, time) FROM picket.events
     WHERE tenant = alert.1 AND kafka_partition = alert.2 AND kafka_offset = alert.3 LIMIT 1) AS who
SELECT time, server_name, type, tool, outcome, reason, resource, seen
FROM
(
    SELECT * FROM picket.v_timeline
    WHERE tenant = alert.1 AND type NOT IN ('discovery', 'tool_definition', 'heartbeat') AND if(who.1 != '', client = who.1, source = who.2)
      AND time BETWEEN who.3 - INTERVAL 1 HOUR AND who.3 + INTERVAL 1 HOUR
    ORDER BY abs(dateDiff('millisecond', who.3, time)), kafka_partition, kafka_offset
    LIMIT 100
)
ORDER BY time, kafka_partition, kafka_offset

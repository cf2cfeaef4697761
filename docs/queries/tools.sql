-- Tools by calls and denials in the last day
-- From the roll-up, so it stays quick on any amount of events. A tool that is refused often is probed or misconfigured.
SELECT server_name AS server, mcp_tool AS tool, sum(events) AS calls, sumIf(events, outcome = 'denied') AS denied,
       sumIf(events, outcome IN ('failure', 'error')) AS failed, round(100 * denied / calls, 1) AS denied_percent,
       sum(events_1m.findings) AS findings, uniqCombined64Merge(clients) AS clients, max(max_ms) AS slowest_ms
FROM picket.events_1m
WHERE minute > now() - INTERVAL 1 DAY AND type = 'tool_call'
GROUP BY server, tool
ORDER BY denied DESC, calls DESC
LIMIT 20

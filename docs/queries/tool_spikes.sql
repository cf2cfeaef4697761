-- Tools used far more in the last hour than in the week before
-- The expectation is the busiest hour of the week before, at least 10 calls. A tool that is new is a spike too. Few clients
-- behind a spike are a script or an agent that runs wild; many are a release.
WITH now() - INTERVAL 1 HOUR AS since
SELECT server_name AS server, mcp_tool AS tool, sumIf(n, recent) AS calls, maxIf(n, NOT recent) AS busiest_before,
       round(calls / greatest(busiest_before, 10), 1) AS times, uniqCombined64MergeIf(c, recent) AS clients
FROM
(
    SELECT server_name, mcp_tool, minute > since AS recent, toStartOfHour(minute) AS hour,
           sum(events) AS n, uniqCombined64MergeState(clients) AS c
    FROM picket.events_1m
    WHERE type = 'tool_call' AND minute > since - INTERVAL 7 DAY
    GROUP BY server_name, mcp_tool, recent, hour
)
GROUP BY server, tool
HAVING times >= 3
ORDER BY times DESC
LIMIT 20

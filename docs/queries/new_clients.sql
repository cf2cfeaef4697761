-- Clients that were never seen before the last day
-- New since the roll-up began (400 days at most). One that fails at once, or reaches many servers at once, is looking around.
SELECT entity AS client, min(r.first_seen) AS first, sum(r.events) AS events, sum(r.failures) AS failures, sum(r.denied) AS denied,
       groupUniqArrayArray(r.servers) AS servers, groupUniqArrayArray(r.tools) AS tools, groupUniqArrayArray(r.sources) AS sources
FROM picket.entity_1h AS r
WHERE kind = 'client'
GROUP BY tenant, client
HAVING first > now() - INTERVAL 1 DAY
ORDER BY failures DESC, events DESC
LIMIT 50

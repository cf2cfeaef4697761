-- Clients that were never seen before the last day
-- New since the roll-up began (400 days at most). One that fails at once, or reaches many servers at once, is looking around.
-- At most 16 servers, tools and sources of each are shown: 16 are 16 or more.
SELECT entity AS client, min(r.first_seen) AS first, sum(r.events) AS events, sum(r.failures) AS failures, sum(r.denied) AS denied,
       arraySort(groupUniqArrayArray(16)(r.servers)) AS servers, arraySort(groupUniqArrayArray(16)(r.tools)) AS tools,
       arraySort(groupUniqArrayArray(16)(r.sources)) AS sources
FROM picket.entity_1h AS r
WHERE kind = 'client'
GROUP BY tenant, client
HAVING first > now() - INTERVAL 1 DAY
ORDER BY failures DESC, events DESC
LIMIT 50

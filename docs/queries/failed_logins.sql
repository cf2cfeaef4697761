-- Failed logins by source in the last hour
-- A source is a pseudonym: look an address up with `picket hash`. Many clients or subjects (what a producer names `user`) from
-- one source is spraying; one from many sources is a stolen or shared account.
SELECT net_ip AS source, net_ip_prefix AS network, countIf(outcome != 'success') AS failed, countIf(outcome = 'success') AS succeeded,
       uniqExactIf(actor_client_id, actor_client_id != '') AS clients, uniqExactIf(actor_subject, actor_subject != '') AS subjects,
       min(time) AS first, max(time) AS last
FROM picket.events
WHERE type = 'authentication' AND time > now() - INTERVAL 1 HOUR
GROUP BY source, network
HAVING failed > 0
ORDER BY failed DESC
LIMIT 20

-- Sessions with more than one client or source in the last day
-- A session belongs to one client. A second client in it is a stolen or guessed session id; a second source alone may be a
-- phone that changed its network, or a proxy. From the roll-up by hour, so it stays quick on any amount of events; it keeps 16
-- names of each, so 16 clients are 16 or more, and among those the order is by the number of events.
SELECT session, clients, sources, servers, tools, events, denied, started, ended
FROM picket.v_sessions
WHERE ended > now() - INTERVAL 1 DAY AND (length(clients) > 1 OR length(sources) > 1)
ORDER BY length(clients) DESC, length(sources) DESC, events DESC
LIMIT 50

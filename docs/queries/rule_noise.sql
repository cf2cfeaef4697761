-- Rules that cost attention, in the last month
-- Many alerts that nobody acted on: raise the threshold, exclude what is known, or disable the rule. Acted on and quick to
-- be acted on: keep it.
SELECT rule_id AS rule, any(n.title) AS title, max(n.worst) AS worst, sum(n.alerts) AS alerts, max(n.alerts) AS busiest_day,
       sum(n.open) AS open, sum(n.acked) + sum(n.resolved) AS acted_on, sum(n.suppressed) AS suppressed,
       round(100 * (open + suppressed) / alerts, 1) AS ignored_percent, max(n.last_fired) AS last
FROM picket.v_rule_noise AS n
WHERE day > today() - 30
GROUP BY rule
ORDER BY ignored_percent * alerts DESC
LIMIT 20

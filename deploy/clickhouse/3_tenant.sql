-- One tenant's analysts: change acme, and run it once a tenant. A user gets the role of each tenant that it may see:
--   CREATE USER dana IDENTIFIED WITH ... DEFAULT ROLE picket_analyst_acme;
-- A role without a policy sees nothing once any policy is on a table, unless the server's configuration says
-- users_without_row_policies_can_read_rows; set it to false.

CREATE ROLE IF NOT EXISTS picket_analyst_acme;
GRANT picket_analyst TO picket_analyst_acme;

CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.events FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;
CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.events_1m FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;
CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.entity_1h FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;
CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.alerts FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;
CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.alert_actions FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;
CREATE ROW POLICY IF NOT EXISTS picket_acme ON picket.deliveries FOR SELECT USING tenant = 'acme' TO picket_analyst_acme;

-- Those who see every tenant: Picket, its operators, and responders, who could otherwise not find the alert to act on. Of an
-- analyst of one tenant who is a responder too, this is the policy that counts.
CREATE ROW POLICY IF NOT EXISTS picket_all ON picket.* FOR SELECT USING 1 TO picket_writer, picket_migrator, picket_operator, picket_responder;

-- What Picket itself may do. Run as an administrator, after `picket migrate --dry-run` has shown what the schema needs.
-- Make the users with your own means of authentication, for instance:
--   CREATE USER picket IDENTIFIED WITH ssl_certificate CN 'picket' DEFAULT ROLE picket_writer;

-- The store and notify roles: they insert, and read back what they inserted.
CREATE ROLE IF NOT EXISTS picket_writer;
GRANT SELECT, INSERT ON picket.* TO picket_writer;
GRANT SELECT ON system.databases TO picket_writer;
GRANT SELECT ON system.tables TO picket_writer;

-- `picket migrate`: the only one that may change tables. Where `picket run` migrates by itself, it needs this role too.
CREATE ROLE IF NOT EXISTS picket_migrator;
GRANT picket_writer TO picket_migrator;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TABLE, ALTER VIEW ON picket.* TO picket_migrator;

-- `picket audit` and `picket dead list --stored`, and whoever is on call: everything, and nothing to change.
CREATE ROLE IF NOT EXISTS picket_operator;
GRANT SELECT ON picket.* TO picket_operator;
GRANT SELECT ON system.parts TO picket_operator;
GRANT SELECT ON system.databases TO picket_operator;
GRANT SELECT ON system.tables TO picket_operator;

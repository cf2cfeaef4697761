-- What Picket itself may do. Run as an administrator, before `picket migrate`, then make the users with your own means of
-- authentication. One for `picket migrate` and `picket run`, as in the README:
--   CREATE USER picket IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE picket_migrator;
-- Or two, each named in a configuration of its own: `picket run` then needs no right to change a table, and `picket migrate` comes
-- before it at every upgrade:
--   CREATE USER picket_migrate IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE picket_migrator;
--   CREATE USER picket IDENTIFIED WITH ssl_certificate CN 'picket' DEFAULT ROLE picket_writer;

-- The store and notify roles: they insert, and read back what they inserted.
CREATE ROLE IF NOT EXISTS picket_writer;
GRANT SELECT, INSERT ON picket.* TO picket_writer;
GRANT SELECT ON system.databases TO picket_writer;
GRANT SELECT ON system.tables TO picket_writer;

-- `picket migrate`: the only one that may change tables. Where `picket run` migrates by itself, its user needs this role.
-- To replace a view is to make one under a name of the server's, to exchange the two, and to drop the old one under that name.
CREATE ROLE IF NOT EXISTS picket_migrator;
GRANT picket_writer TO picket_migrator;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TABLE, ALTER VIEW ON picket.* TO picket_migrator;
GRANT DROP TABLE ON picket._tmp_replace_* TO picket_migrator;

-- `picket audit` and `picket dead list --stored`, and whoever is on call: everything, and nothing to change.
CREATE ROLE IF NOT EXISTS picket_operator;
GRANT SELECT ON picket.* TO picket_operator;
GRANT SELECT ON system.parts TO picket_operator;
GRANT SELECT ON system.databases TO picket_operator;
GRANT SELECT ON system.tables TO picket_operator;

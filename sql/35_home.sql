-- Which table column an image was stored in.

CREATE TABLE biometric.home (
	log_id pg_catalog.uuid NOT NULL,
	home pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	attnum pg_catalog.int2 NOT NULL,
	column_name pg_catalog.name NOT NULL,
	PRIMARY KEY (log_id, home),
	UNIQUE (log_id, relation, attnum)
);
REVOKE ALL ON biometric.home FROM PUBLIC;
GRANT SELECT ON biometric.home TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.home IS
'The homes of images: a random id a table column, which sealed images carry. Rows of this database''s own log count by relation and attnum, those of a log that fork_ledger() adopted by relation and column_name, all others not at all. Kept by biometric_audit alone.';

-- Tables that a restore cannot have are left out: it could not read their names.
SELECT pg_catalog.pg_extension_config_dump('biometric.home',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c '
	'WHERE c.oid OPERATOR(pg_catalog.=) relation '
	'AND c.relpersistence OPERATOR(pg_catalog.<>) ''t'')');

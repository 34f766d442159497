-- Which columns say whom a table's images show, and where and when they were taken.

CREATE TABLE biometric.collection (
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	subject_attnums pg_catalog.int2[] NOT NULL,
	subject_columns pg_catalog.name[] NOT NULL,
	place_attnums pg_catalog.int2[] NOT NULL,
	place_columns pg_catalog.name[] NOT NULL,
	time_attnum pg_catalog.int2,
	time_column pg_catalog.name,
	described_at pg_catalog.timestamptz NOT NULL,
	described_by pg_catalog.text NOT NULL,
	PRIMARY KEY (log_id, relation)
);
REVOKE ALL ON biometric.collection FROM PUBLIC;
GRANT SELECT ON biometric.collection TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.collection IS
'The columns of a table that say whom its images show (subject), and where (place) and when (time) they were taken, as describe_collection() was told. Rows of this database''s own log count by relation and attribute numbers, those of a log that fork_ledger() adopted by relation and names, all others not at all. Kept by biometric_audit alone.';

-- Tables that a restore cannot have are left out: it could not read their names.
SELECT pg_catalog.pg_extension_config_dump('biometric.collection',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c '
	'WHERE c.oid OPERATOR(pg_catalog.=) relation '
	'AND c.relpersistence OPERATOR(pg_catalog.<>) ''t'')');

CREATE FUNCTION biometric.describe_collection(relation pg_catalog.regclass,
		subject_columns pg_catalog.name[] DEFAULT '{}',
		place_columns pg_catalog.name[] DEFAULT '{}',
		time_column pg_catalog.name DEFAULT NULL)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_describe_collection' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.describe_collection(pg_catalog.regclass, pg_catalog.name[],
	pg_catalog.name[], pg_catalog.name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.describe_collection(pg_catalog.regclass, pg_catalog.name[],
	pg_catalog.name[], pg_catalog.name) TO PUBLIC;
COMMENT ON FUNCTION biometric.describe_collection(pg_catalog.regclass, pg_catalog.name[],
	pg_catalog.name[], pg_catalog.name) IS
	'Says which columns of a table (and of its partitions and heirs, by name) tell whom its images show, where they were taken, and when (a column of type date, timestamp, which is taken for UTC, or timestamptz): their values go into the ledger with each image that is stored from then on, and, by entries stored of operation describe in the same transaction, with those that are there already, so that breach_report() can count by them, releases of the past, too: for a release counts what was recorded last before it of a row and image, or else first behind it. At most 16 columns each, and 4096 bytes a row: longer values are refused when they are stored. Replaces what was said before; without any column nothing is collected any more. For the table''s owner and custodians. Errors: 42501 for others; 42703 for a column that does not exist; 42809 for a relation that is no table with image columns; 22023 for a column that is named twice or holds images, a time column of another type, and too many columns; 54000 for values that are too long; 55000 in the transaction that created the extension.';

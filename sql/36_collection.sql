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

-- What images are collected for, and no more of them than was declared.

CREATE TABLE biometric.collection_limit (
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	attnum pg_catalog.int2 NOT NULL,
	column_name pg_catalog.name NOT NULL,
	declaration pg_catalog.uuid NOT NULL,
	max_width pg_catalog.int4 CHECK (max_width OPERATOR(pg_catalog.>) 0),
	max_height pg_catalog.int4 CHECK (max_height OPERATOR(pg_catalog.>) 0),
	formats pg_catalog.text[],
	max_per_subject_per_day pg_catalog.int4
		CHECK (max_per_subject_per_day OPERATOR(pg_catalog.>) 0),
	purpose pg_catalog.text,
	legal_basis pg_catalog.text,
	declared_at pg_catalog.timestamptz NOT NULL,
	declared_by pg_catalog.text NOT NULL,
	PRIMARY KEY (log_id, relation, attnum)
);
REVOKE ALL ON biometric.collection_limit FROM PUBLIC;
GRANT SELECT ON biometric.collection_limit TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.collection_limit IS
'What the images of a column are collected for, and which may be, as collect() was told: behind view biometric.declared_collection. declaration: as the entry of the ledger has it. Rows of this database''s own log count by relation and attribute number, those of a log that fork_ledger() adopted by relation and column_name, all others not at all. Kept by biometric_audit alone.';

-- Tables that a restore cannot have are left out: it could not read their names.
SELECT pg_catalog.pg_extension_config_dump('biometric.collection_limit',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c '
	'WHERE c.oid OPERATOR(pg_catalog.=) relation '
	'AND c.relpersistence OPERATOR(pg_catalog.<>) ''t'')');

-- Counted again and again within a day: room for new versions in the same page.
CREATE TABLE biometric.collection_count (
	day pg_catalog.date NOT NULL,
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	attnum pg_catalog.int2 NOT NULL,
	subject pg_catalog.bytea NOT NULL,
	images pg_catalog.int4 NOT NULL,
	PRIMARY KEY (day, log_id, relation, attnum, subject)
) WITH (fillfactor = 70);
REVOKE ALL ON biometric.collection_count FROM PUBLIC;
GRANT SELECT ON biometric.collection_count TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.collection_count IS
'How many images of a subject (the SHA-256 of what its columns say) were enrolled on a day (UTC) in a column for which collect() declared max_per_subject_per_day: today''s and yesterday''s, older rows go as new ones come. Not dumped. Kept by biometric_audit alone.';

CREATE FUNCTION biometric.collect(relation pg_catalog.regclass, column_name pg_catalog.name,
		max_width pg_catalog.int4 DEFAULT NULL, max_height pg_catalog.int4 DEFAULT NULL,
		formats pg_catalog.text[] DEFAULT NULL,
		max_per_subject_per_day pg_catalog.int4 DEFAULT NULL,
		purpose pg_catalog.text DEFAULT NULL, legal_basis pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_collect' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.collect(pg_catalog.regclass, pg_catalog.name, pg_catalog.int4,
	pg_catalog.int4, pg_catalog.text[], pg_catalog.int4, pg_catalog.text, pg_catalog.text)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.collect(pg_catalog.regclass, pg_catalog.name, pg_catalog.int4,
	pg_catalog.int4, pg_catalog.text[], pg_catalog.int4, pg_catalog.text, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.collect(pg_catalog.regclass, pg_catalog.name, pg_catalog.int4,
	pg_catalog.int4, pg_catalog.text[], pg_catalog.int4, pg_catalog.text, pg_catalog.text) IS
	'Declares what the images of a column of a table (and of its partitions and heirs, by name) are collected for, and which may be: of at most max_width x max_height pixels, in one of formats (names as those of format(): jpeg, png, jp2, j2k, wsq, fir, fac, iir, an2k), and at most max_per_subject_per_day new ones of a subject in a day (UTC), a subject being what describe_collection() named. NULL: any. purpose and legal_basis (at most 1000 bytes each) go on record with each image that is stored from then on, and are shown by breach_report(), biometric-report and view biometric.declared_collection. Replaces what was declared before; all NULL ends it. Images that are there already stay, whatever they are; a NOTICE says how many exceed. An enrolment beyond it fails with 23514; one without a subject, where they are counted, with 23502. With two_person on, what allows more than before, and another purpose or legal basis, becomes a proposal. Errors: 42501 unless the caller is a custodian; 42703 for a column that does not exist; 42809 for one that holds no images, a temporary table and what is no table; 22023 for numbers below 1, unknown formats and texts that are blank or too long; 55000 for max_per_subject_per_day of a table whose subjects are not described, and in the transaction that created the extension.';

CREATE VIEW biometric.declared_collection AS
	WITH RECURSIVE based AS (
		SELECT t.oid AS type, t.oid AS base
		FROM pg_catalog.pg_type AS t
			JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) t.oid
				AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
				AND d.refclassid OPERATOR(pg_catalog.=)
					'pg_catalog.pg_extension'::pg_catalog.regclass
				AND d.deptype OPERATOR(pg_catalog.=) 'e'
			JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
				AND e.extname OPERATOR(pg_catalog.=) 'biometric_audit'
		WHERE t.typtype OPERATOR(pg_catalog.=) 'b'
			AND t.typname OPERATOR(pg_catalog.~) '^[^_].*_image$'
		UNION ALL
		SELECT t.oid, b.base
		FROM based AS b JOIN pg_catalog.pg_type AS t
			ON t.typbasetype OPERATOR(pg_catalog.=) b.type
	), declared AS (
		SELECT l.relation, coalesce(a.attnum, l.attnum) AS attnum, l.declaration, l.max_width,
			l.max_height, l.formats, l.max_per_subject_per_day, l.purpose, l.legal_basis,
			l.declared_at, l.declared_by
		FROM ONLY biometric.collection_limit AS l
			JOIN ONLY biometric.log AS g ON g.log_id OPERATOR(pg_catalog.=) l.log_id
			LEFT JOIN pg_catalog.pg_attribute AS a ON g.ordinal IS NULL
				AND a.attrelid OPERATOR(pg_catalog.=) l.relation
				AND a.attname OPERATOR(pg_catalog.=) l.column_name
		WHERE g.ordinal IS NOT NULL OR g.adopted_at IS NOT NULL
	)
	SELECT a.attrelid::pg_catalog.regclass AS relation, a.attname AS column_name,
		pg_catalog.regexp_replace(t.typname::pg_catalog.text, '_image$', '') AS kind,
		d.declaration IS NOT NULL AS declared, d.max_width, d.max_height, d.formats,
		d.max_per_subject_per_day, d.purpose, d.legal_basis, d.declared_at, d.declared_by,
		d.declaration
	FROM pg_catalog.pg_attribute AS a
		JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
		JOIN based AS b ON b.type OPERATOR(pg_catalog.=) a.atttypid
		JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.base
		LEFT JOIN declared AS d ON d.relation OPERATOR(pg_catalog.=) a.attrelid::pg_catalog.regclass
			AND d.attnum OPERATOR(pg_catalog.=) a.attnum
	WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
		AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'm']::pg_catalog."char"[])
		AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
		AND (d.declaration IS NOT NULL OR a.attinhcount OPERATOR(pg_catalog.=) 0);
REVOKE ALL ON biometric.declared_collection FROM PUBLIC;
GRANT SELECT ON biometric.declared_collection TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.declared_collection IS
'Each column of a table or materialized view that holds images, with what collect() declared for it; declared: whether anything was. A partition or heir stands here for itself only if a declaration names it: else that of its parent counts. kind: of the images; max_width, max_height: pixels; max_per_subject_per_day: images a UTC day; NULL: any. declaration: as the ledger''s entry policy_changed with action collect has it.';

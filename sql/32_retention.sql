-- How long images are kept, and what becomes of those that have been kept long enough.

CREATE TABLE biometric.retention (
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	attnum pg_catalog.int2 NOT NULL,
	column_name pg_catalog.name NOT NULL,
	period pg_catalog.interval NOT NULL,
	on_expiry pg_catalog.text NOT NULL
		CHECK (on_expiry OPERATOR(pg_catalog.=) ANY ('{erase,delete,shred}'::pg_catalog.text[])),
	time_attnum pg_catalog.int2,
	time_column pg_catalog.name,
	reason pg_catalog.text,
	declared_at pg_catalog.timestamptz NOT NULL,
	declared_by pg_catalog.text NOT NULL,
	in_force_at pg_catalog.timestamptz,
	stamped_at pg_catalog.timestamptz,
	purge_block pg_catalog.int8 NOT NULL DEFAULT 0,
	purged pg_catalog.int8 NOT NULL DEFAULT 0,
	last_run_at pg_catalog.timestamptz,
	last_pass_at pg_catalog.timestamptz,
	problem pg_catalog.text,
	purge_next pg_catalog.timestamptz,
	PRIMARY KEY (log_id, relation, attnum)
);
REVOKE ALL ON biometric.retention FROM PUBLIC;
GRANT SELECT ON biometric.retention TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.retention IS
	'How long the images of a column are kept, as retain() was told, and how far purging has come. Rows of this database''s own logs count, by relation and attribute numbers; restored ones count for nothing until retain() is called again. Changed by retain() and by purging only.';
COMMENT ON COLUMN biometric.retention.in_force_at IS
	'since when the gate goes by it; NULL: images are still being stamped with the time of their row';
COMMENT ON COLUMN biometric.retention.stamped_at IS
	'when all images that were there had been stamped with the time of their row; NULL: they are still being stamped, and nothing is purged';
COMMENT ON COLUMN biometric.retention.purge_block IS
	'where purging goes on: the OID of the table, partition or heir times 2^32 plus the number of the block; 0: at the beginning';
COMMENT ON COLUMN biometric.retention.purged IS
	'how many images were purged since it was declared';
COMMENT ON COLUMN biometric.retention.problem IS
	'what purging last met that it could not do; NULL: nothing';
COMMENT ON COLUMN biometric.retention.purge_next IS
	'between passes: when purging is to begin anew, NULL for at once; within one: when the first of the images that it has met so far, and that were not due, will be';

CREATE TABLE biometric.retention_past (
	log_id pg_catalog.uuid NOT NULL,
	home pg_catalog.uuid NOT NULL,
	relation pg_catalog.text NOT NULL,
	column_name pg_catalog.name NOT NULL,
	period pg_catalog.interval NOT NULL,
	ended_at pg_catalog.timestamptz NOT NULL,
	time_column pg_catalog.name,
	PRIMARY KEY (log_id, home)
);
REVOKE ALL ON biometric.retention_past FROM PUBLIC;
GRANT SELECT ON biometric.retention_past TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.retention_past IS
	'Columns (home: the id that images have it by) that were dropped while a retention period was in force for them: copies of their images in other columns go by it still. Kept by biometric_audit alone.';

-- Tables that a restore cannot have are left out: it could not read their names.
SELECT pg_catalog.pg_extension_config_dump('biometric.retention',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c '
	'WHERE c.oid OPERATOR(pg_catalog.=) relation '
	'AND c.relpersistence OPERATOR(pg_catalog.<>) ''t'')');
SELECT pg_catalog.pg_extension_config_dump('biometric.retention_past', '');

CREATE FUNCTION biometric.retain(relation pg_catalog.regclass, column_name pg_catalog.name,
		period pg_catalog.interval, on_expiry pg_catalog.text DEFAULT NULL,
		time_column pg_catalog.name DEFAULT NULL, reason pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_retain' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.retain(pg_catalog.regclass, pg_catalog.name, pg_catalog.interval,
	pg_catalog.text, pg_catalog.name, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.retain(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.interval, pg_catalog.text, pg_catalog.name, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.retain(pg_catalog.regclass, pg_catalog.name, pg_catalog.interval,
	pg_catalog.text, pg_catalog.name, pg_catalog.text) IS
	'Declares how long the images of a column are kept: relation a table, its partitions and heirs included unless they have a period of their own; period longer than nothing and at most 1000 years, NULL to end it; on_expiry erase (the image becomes NULL), delete (its row goes) or shred (the key of its key_period is shredded); time_column a column of type date, timestamp (taken for UTC) or timestamptz that it counts from, NULL (or a row whose time is NULL or infinite): from the sealing time. In force when the commit returns: an image that has been kept longer is not opened any more, by whatever permit, and is purged. With a time column, in a table with rows, it comes into force when purging has stamped their images with it (NOTICE; see retention_status). Replaces what was declared before. Takes SHARE ROW EXCLUSIVE on the table and its heirs. For custodians; with two_person it is proposed. Errors: 42501 for others; 22023 for values that cannot be; 42703 for a column that does not exist; 42809 for what is no table, a temporary one, or a column without images; 55000 for erase of a column that is NOT NULL, shred of one without key_period, a period to end that is none, and in the transaction that created the extension; 54000 beyond biometric_audit.max_retention_rules.';

CREATE FUNCTION biometric.end_past_retention(home pg_catalog.uuid, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_end_past_retention' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.end_past_retention(pg_catalog.uuid, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.end_past_retention(pg_catalog.uuid, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.end_past_retention(pg_catalog.uuid, pg_catalog.text) IS
	'Ends the retention period that copies go by still although the column that they come from was dropped: home as table biometric.retention_past has it. For custodians; with two_person it is proposed. Errors: 42501 for others; 22023 for NULL and an empty reason; 42704 when there is none for that home; 55000 in the transaction that created the extension.';

CREATE FUNCTION biometric.retention_count(relation pg_catalog.regclass, attribute pg_catalog.int2,
		OUT images pg_catalog.int8, OUT due pg_catalog.int8, OUT held pg_catalog.int8,
		OUT unstamped pg_catalog.int8, OUT oldest pg_catalog.timestamptz)
	RETURNS pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_retention_count' LANGUAGE C STABLE STRICT;
REVOKE ALL ON FUNCTION biometric.retention_count(pg_catalog.regclass, pg_catalog.int2) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.retention_count(pg_catalog.regclass, pg_catalog.int2)
	TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.retention_count(pg_catalog.regclass, pg_catalog.int2) IS
	'Counts the images that a row of biometric.retention is for, by reading the header of each: all, those whose period is over, those under a legal hold, those whose header has not the time of their row, and the time that the oldest counts from. All NULL when retain() was not called for that column. For custodians and auditors.';

CREATE VIEW biometric.retention_status AS
	SELECT s.relation, s.column_name, s.period, s.on_expiry, s.time_column, s.state,
		(s.counted).images, (s.counted).due, (s.counted).held, s.purged, (s.counted).unstamped,
		(s.counted).oldest, s.last_run_at, s.last_pass_at, s.problem
	FROM (
		SELECT r.relation, r.column_name, r.period, r.on_expiry, r.time_column,
			CASE WHEN r.in_force_at IS NULL THEN 'preparing' ELSE 'in_force' END AS state,
			-- once a row, and not at all unless something of it is asked for
			biometric.retention_count(r.relation, r.attnum) AS counted,
			r.purged, r.last_run_at, r.last_pass_at, r.problem
		FROM ONLY biometric.retention AS r
		JOIN ONLY biometric.log AS l ON l.log_id OPERATOR(pg_catalog.=) r.log_id
		WHERE l.ordinal IS NOT NULL
		OFFSET 0
	) AS s;
REVOKE ALL ON biometric.retention_status FROM PUBLIC;
GRANT SELECT ON biometric.retention_status TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.retention_status IS
	'Retention as it stands, a row for each column that retain() was called for: state preparing (images are being stamped with the time of their rows) or in_force; images, due (the period is over, and they are not purged yet), held (under a legal hold, due or not), unstamped (without the time of their row) and oldest (the time that the oldest counts from) by a scan of the headers of all images, which is made only when one of these columns is asked for; purged since it was declared; when purging last ran, last reached the end of the table, and what it could not do.';

-- Sealing stored images again, under the key that they should have.

CREATE FUNCTION biometric.reseal(relation pg_catalog.regclass, column_name pg_catalog.name,
		max_rows pg_catalog.int8 DEFAULT 1000)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_reseal' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION biometric.reseal(pg_catalog.regclass, pg_catalog.name, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.reseal(pg_catalog.regclass, pg_catalog.name, pg_catalog.int8)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.reseal(pg_catalog.regclass, pg_catalog.name, pg_catalog.int8) IS
	'Seals images of a column of a table, its partitions and heirs again under the key that they should have: the one that seals new images, or where the column has a key_period() the key of the image''s period. An image that is a copy from a column with periods keeps the key of what it is a copy of. At most max_rows images a call, in the caller''s transaction; the next call goes on where the last one that was committed ended. Returns the number of images sealed anew, 0 when a pass over everything has found nothing to do. Image ids, homes and flags stay; triggers of users do not fire, row security does not apply; each image is recorded as replaced by operation reseal. Rows that others have locked or are changing are left to a later call, and a NOTICE counts them; images that are damaged or whose key is not at hand stay as they are, and a WARNING counts them. For custodians. Errors: 42501 for others, 22023 for max_rows below 1, 42703 without such a column, 42809 if it holds no images or is a materialized view (which REFRESH fills anew) or otherwise no table, 55000 for a published table without replica identity or a table that lacks its triggers, 23514 when a constraint would not hold any more, 23505 for one that is unique or may be deferred, 25006 in a read-only transaction; those of the keyring';

CREATE FUNCTION biometric.reseal_running(
	OUT pid pg_catalog.int4, OUT relation pg_catalog.oid, OUT attnum pg_catalog.int2,
	OUT phase pg_catalog.text, OUT blocks_total pg_catalog.int8, OUT blocks_done pg_catalog.int8,
	OUT images_done pg_catalog.int8, OUT images_skipped pg_catalog.int8,
	OUT started_at pg_catalog.timestamptz)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_reseal_running' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.reseal_running() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.reseal_running() TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.reseal_running() IS
	'The calls of reseal() that are running in this database: see biometric.stat_progress_reseal';

CREATE VIEW biometric.stat_progress_reseal AS
SELECT r.pid, pg_catalog.current_database() AS datname,
	coalesce(r.relation, p.relation)::pg_catalog.regclass AS relation,
	coalesce(a.attname, p.column_name) AS column_name,
	coalesce(r.phase, 'between calls') AS phase,
	coalesce(r.blocks_total, p.blocks_total) AS blocks_total,
	coalesce(r.blocks_done, p.blocks_done) AS blocks_done,
	coalesce(r.images_done, p.images_done) AS images_done,
	coalesce(r.images_skipped, p.images_skipped) AS images_skipped,
	coalesce(r.started_at, p.started_at) AS started_at
FROM biometric.reseal_running() r
	LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.relation
		AND a.attnum OPERATOR(pg_catalog.=) r.attnum
	FULL JOIN (SELECT q.* FROM ONLY biometric.reseal_progress q
		WHERE q.log_id OPERATOR(pg_catalog.=) (SELECT l.log_id FROM ONLY biometric.log l
				ORDER BY l.ordinal DESC NULLS LAST LIMIT 1)
			AND EXISTS (SELECT FROM pg_catalog.pg_attribute c WHERE c.attrelid OPERATOR(pg_catalog.=) q.relation
				AND c.attname OPERATOR(pg_catalog.=) q.column_name)) p
		ON p.relation OPERATOR(pg_catalog.=) r.relation
		AND p.column_name OPERATOR(pg_catalog.=) a.attname;
REVOKE ALL ON biometric.stat_progress_reseal FROM PUBLIC;
GRANT SELECT ON biometric.stat_progress_reseal TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.stat_progress_reseal IS
'How far the resealing of each column has come. pid: of the process that is running reseal(); NULL between calls. phase: sealing, verifying (a pass that has found nothing so far), or between calls. blocks_total, blocks_done: of this pass over the table, its partitions and heirs. images_done: sealed anew since reseal() was first called. images_skipped: in this pass, for being locked, damaged or without key. started_at: of the first call. A column that is done has no row.';

CREATE FUNCTION biometric.key_images(OUT key_id pg_catalog.int8, OUT images pg_catalog.int8)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_key_images' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.key_images() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.key_images() TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.key_images() IS
	'How many images of this database are sealed under each key: in all rows of tables and materialized views that the statement''s snapshot shows, imported images included, by a scan that reads no image''s body. Not counted: temporary tables of other sessions, foreign tables, images inside of arrays, composites and ranges. An image whose header is damaged counts under key_id NULL. No errors of its own';

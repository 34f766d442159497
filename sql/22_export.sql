-- What auditors take away: entries, and the whole ledger as files.

CREATE FUNCTION biometric.entries(first pg_catalog.int8, count pg_catalog.int8)
RETURNS TABLE (seq pg_catalog.int8, entry pg_catalog.bytea)
AS 'MODULE_PATHNAME', 'audit_entries'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 1000;
REVOKE ALL ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) IS
'The canonical bytes of entries of the present log, in order: from sequence number first on (from 0), at most count, and only those that are durable; fewer at the ledger''s end. Errors: 22023 for a negative number or one beyond the end, 55000 for entries of a segment that was detached, XX001 when an entry is missing.';

CREATE FUNCTION biometric.export_ledger(
	directory pg_catalog.text, log_id pg_catalog.uuid DEFAULT NULL,
	OUT size pg_catalog.int8, OUT root pg_catalog.bytea, OUT files_written pg_catalog.int8)
RETURNS record AS 'MODULE_PATHNAME', 'audit_export_ledger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.export_ledger(pg_catalog.text, pg_catalog.uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.export_ledger(pg_catalog.text, pg_catalog.uuid) TO biometric_auditor;
COMMENT ON FUNCTION biometric.export_ledger(pg_catalog.text, pg_catalog.uuid) IS
'Writes a log to a directory of the server, in the layout of C2SP tlog-tiles, for biometric-verify and every other program that reads it. Goes on where the last export to this directory stopped, whether it was finished or not. directory: absolute, outside of the server''s own; made, with mode 0700, if it is not there. log_id: as in biometric.log, also of a log that was forked from or restored; NULL: the present one. Result: how many entries the directory''s checkpoint covers, their Merkle root, and how many files were written. Only for auditors who have the privileges of pg_write_server_files. Makes no entry: what leaves is what auditors may read anyway. Errors: 42501 for others, 22023 for a path that will not do or a log that there is not, 55000 when nothing was signed, the directory is another log''s, is ahead of the database, or ends before the first entry that was not detached, 55006 while another export writes there, XX001 when the log is not a continuation of what the directory has, or is damaged.';

-- Attached segments are looked for among the entries: a head's size may be whatever a dump says. No log has 2^60 entries.
CREATE VIEW biometric.segments AS
WITH RECURSIVE size_of AS (
	SELECT l.log_id, l.segment_size, LEAST(h.size, 1152921504606846976) AS size
	FROM ONLY biometric.log l
		JOIN ONLY biometric.head h ON h.log_id OPERATOR(pg_catalog.=) l.log_id
), detached AS (
	SELECT s.log_id, s.segment, s.root, s.detached_at, s.reason
	FROM ONLY biometric.segment s
		JOIN size_of z ON z.log_id OPERATOR(pg_catalog.=) s.log_id
	WHERE s.segment OPERATOR(pg_catalog.>=) 0
		AND s.segment OPERATOR(pg_catalog.<) (z.size OPERATOR(pg_catalog./) z.segment_size)
), attached(log_id, segment) AS (
	SELECT z.log_id, COALESCE((SELECT pg_catalog.max(d.segment) FROM detached d
			WHERE d.log_id OPERATOR(pg_catalog.=) z.log_id), -1)
	FROM size_of z
	UNION ALL
	SELECT z.log_id, e.seq OPERATOR(pg_catalog./) z.segment_size
	FROM attached a
		JOIN size_of z ON z.log_id OPERATOR(pg_catalog.=) a.log_id
		CROSS JOIN LATERAL (SELECT n.seq FROM biometric.entry n
			WHERE n.log_id OPERATOR(pg_catalog.=) a.log_id
				AND n.seq OPERATOR(pg_catalog.>=)
					((a.segment OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.*) z.segment_size)
				AND n.seq OPERATOR(pg_catalog.<) z.size
			ORDER BY n.seq LIMIT 1) AS e
)
SELECT z.log_id, n.segment, n.segment OPERATOR(pg_catalog.*) z.segment_size AS first,
	LEAST((n.segment OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.*) z.segment_size, z.size)
		OPERATOR(pg_catalog.-) 1 AS last,
	CASE WHEN n.detached_at IS NOT NULL THEN 'detached'
		WHEN (n.segment OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.*) z.segment_size
			OPERATOR(pg_catalog.<=) z.size THEN 'full'
		ELSE 'current' END AS state,
	n.root, n.detached_at, n.reason
FROM size_of z
	JOIN (SELECT d.log_id, d.segment, d.root, d.detached_at, d.reason FROM detached d
		UNION ALL
		SELECT a.log_id, a.segment, NULL, NULL, NULL FROM attached a
		WHERE NOT EXISTS (SELECT 1 FROM detached d WHERE d.log_id OPERATOR(pg_catalog.=) a.log_id
				AND d.segment OPERATOR(pg_catalog.=) a.segment)
			AND a.segment OPERATOR(pg_catalog.>=) 0) AS n
		ON n.log_id OPERATOR(pg_catalog.=) z.log_id;
REVOKE ALL ON biometric.segments FROM PUBLIC;
GRANT SELECT ON biometric.segments TO biometric_auditor, biometric_custodian;
COMMENT ON VIEW biometric.segments IS
'The segments of each log that were detached, or have entries here. log_id: the log. segment: its number, from 0. first, last: the sequence numbers of its entries. state: "detached", its entries are in an archive; "full", it can be detached when it is the oldest that has not been; "current", the ledger has not grown beyond it. root, detached_at, reason: of a detached one, the Merkle root over its entries alone, when and why it was detached.';

CREATE FUNCTION biometric.detach_segment(
	segment pg_catalog.int8, archive_root pg_catalog.bytea, reason pg_catalog.text)
RETURNS void AS 'MODULE_PATHNAME', 'audit_detach_segment'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.detach_segment(pg_catalog.int8, pg_catalog.bytea, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.detach_segment(pg_catalog.int8, pg_catalog.bytea, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.detach_segment(pg_catalog.int8, pg_catalog.bytea, pg_catalog.text) IS
'Removes the entries of the oldest segment of the present log that still has them, with this transaction; its root stays, so that the rest can be verified and proven as before. segment: its number, as in biometric.segments. archive_root: the Merkle root over its entries alone (32 bytes), as "biometric-verify segment" computes it from an archive: so the wrong archive, or one that is incomplete, is not taken for the right one by mistake. Auditors can have it from biometric.root(), too, so that it is no proof that there is an archive. reason: becomes part of the ledger, as an entry policy_changed with action "detach", which is durable before anything is removed, and stays if the transaction is rolled back. For custodians. Errors: 42501 for others, 22004 for NULL, 22023 without a reason or when archive_root is not the segment''s root, 55000 when the segment is not the oldest one, not full, not covered by a signed checkpoint, or has entries of a transaction that has not ended. Waits for another detaching that has not ended, and holds up nobody else, prepared or not. The rows are deleted: older snapshots, dumps among them, still see them, and vacuum takes their space. What was released within the segment goes on counting in quotas: when they are counted anew, for each permit of the party that may have released it.';

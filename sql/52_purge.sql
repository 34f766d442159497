-- Purging images whose retention period is over.

CREATE FUNCTION biometric.purge_expired(max_rows pg_catalog.int8 DEFAULT 10000)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_purge_expired' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.purge_expired(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.purge_expired(pg_catalog.int8) TO biometric_custodian;
COMMENT ON FUNCTION biometric.purge_expired(pg_catalog.int8) IS
	'Purges images whose retention period is over, now and in this transaction, as the background process does it in its own: rows are emptied or deleted as retain() said, as the table''s owner, whose triggers and foreign keys apply; keys of periods that are over are shredded; images that a rule in preparation counts are stamped. max_rows: rows to be purged at most, at least 1. Returns how many were: fewer than max_rows means that no more can go now. Rows under a legal hold stay, and rows that others have locked; rows that raise an error stay, and retention_status says why. What the transaction has deferred (SET CONSTRAINTS) is checked first. For custodians. Errors: 42501 for others; 22023 for max_rows below 1; 25001 in a transaction with isolation level REPEATABLE READ or SERIALIZABLE; 25006 in a read-only transaction and on a standby; 55000 in the transaction that created the extension.';

CREATE FUNCTION biometric.purge_status(OUT pid pg_catalog.int4, OUT rules pg_catalog.int4,
		OUT purged pg_catalog.int8, OUT ended_at pg_catalog.timestamptz,
		OUT problem pg_catalog.text)
	RETURNS pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_purge_status' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.purge_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.purge_status() TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.purge_status() IS
	'The background process that purges this database: pid, NULL while there is none; rules: how many retention periods it knows of; purged: rows since the server''s start; ended_at: when the last one was done, NULL when one is due; problem: why none can run, NULL if one can. What could not be purged, retention_status says. For custodians and auditors.';

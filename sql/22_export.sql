-- What auditors take away: entries, and the whole ledger as files.

CREATE FUNCTION biometric.entries(first pg_catalog.int8, count pg_catalog.int8)
RETURNS TABLE (seq pg_catalog.int8, entry pg_catalog.bytea)
AS 'MODULE_PATHNAME', 'audit_entries'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 1000;
REVOKE ALL ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.entries(pg_catalog.int8, pg_catalog.int8) IS
'The canonical bytes of entries of the present log, in order: from sequence number first on (from 0), at most count, and only those that are durable; fewer at the ledger''s end. Errors: 22023 for a negative number or one beyond the end, 55000 for entries of a segment that was detached, XX001 when an entry is missing.';

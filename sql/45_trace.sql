-- From a leaked file to the image that it is of, and to whom that was released.

CREATE FUNCTION biometric.trace(
	image pg_catalog.bytea, max_distance pg_catalog.int4 DEFAULT NULL)
RETURNS TABLE (
	match pg_catalog.text, distance pg_catalog.int4, image_id pg_catalog.uuid, kind pg_catalog.text,
	log_id pg_catalog.uuid, stored_seq pg_catalog.int8, relation pg_catalog.text,
	row_key pg_catalog.jsonb, seq pg_catalog.int8, at pg_catalog.timestamptz, event pg_catalog.text,
	party pg_catalog.text, network pg_catalog.text, client_addr pg_catalog.text,
	session_user_name pg_catalog.text, purpose pg_catalog.text)
AS 'MODULE_PATHNAME', 'trace_file'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
REVOKE ALL ON FUNCTION biometric.trace(pg_catalog.bytea, pg_catalog.int4) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.trace(pg_catalog.bytea, pg_catalog.int4) TO biometric_auditor;
COMMENT ON FUNCTION biometric.trace(pg_catalog.bytea, pg_catalog.int4) IS
'Looks for the image that a file is of, and lists every disclosure of it: a row for each, or one with seq NULL for an image that was never disclosed; surest matches first. image: the file''s bytes, or a sealed image''s. max_distance: bits of 256 in which the hashes of pictures that count as similar may differ; NULL: the usual 48. match: "mark", the file carries an authentic mark, which names this very disclosure; "exact", the file, perhaps without its marks, has the same bytes; "similar", it looks alike, also encoded again, scaled or cut at its edges. distance: bits that differ, 0 for exact; NULL for a mark where one of both has no picture hash. A mark with a great distance was moved into another picture. image_id, kind: of the image. log_id: the log of the disclosure, or of the entry that stored the image. stored_seq: the entry that the image came by into its row, NULL where that is in another log or was rolled back; relation, row_key: that row, also if it was changed or deleted since. seq, at, event, party, network, client_addr, session_user_name, purpose: the disclosure. Lists at most biometric_audit.trace_limit images a match. NOTICEs say which marks are not authentic, and what could not be compared. The search itself is put on record, as an entry of event incident. For auditors. Errors: 22004 for NULL, 22023 for a distance below 0 or above 256, F0000 when the keyring cannot be used.';

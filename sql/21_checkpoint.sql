-- Checkpoints and proofs: what somebody outside can check the ledger by.

CREATE TABLE biometric.checkpoint (
	log_id pg_catalog.uuid NOT NULL,
	size pg_catalog.int8 NOT NULL,
	at pg_catalog.timestamptz NOT NULL,
	note pg_catalog.bytea NOT NULL,
	PRIMARY KEY (log_id, size)
);
ALTER TABLE biometric.checkpoint ALTER COLUMN note SET STORAGE PLAIN;
REVOKE ALL ON biometric.checkpoint FROM PUBLIC;
COMMENT ON TABLE biometric.checkpoint IS
'Signed heads of the ledger (c2sp.org/tlog-checkpoint): the newest, one a minute, and all that witnesses have cosigned. size: entries that it covers. note: the signed note, in UTF-8.';

CREATE TABLE biometric.verifier (
	log_id pg_catalog.uuid NOT NULL,
	vkey pg_catalog.text NOT NULL,
	since pg_catalog.int8 NOT NULL,
	at pg_catalog.timestamptz NOT NULL,
	PRIMARY KEY (log_id, since)
);
REVOKE ALL ON biometric.verifier FROM PUBLIC;
COMMENT ON TABLE biometric.verifier IS
'The keys that have signed checkpoints of a log, as verifier keys (c2sp.org/signed-note). since: sequence number of the entry key_changed that says so in the log itself. at: when the key signed first.';

CREATE TABLE biometric.cosignature (
	log_id pg_catalog.uuid NOT NULL,
	size pg_catalog.int8 NOT NULL,
	vkey pg_catalog.text NOT NULL,
	line pg_catalog.bytea NOT NULL,
	PRIMARY KEY (log_id, size, vkey)
);
REVOKE ALL ON biometric.cosignature FROM PUBLIC;
COMMENT ON TABLE biometric.cosignature IS
'What witnesses have signed (c2sp.org/tlog-cosignature). size: the checkpoint''s. vkey: the witness''s verifier key. line: its signature line, in UTF-8.';

SELECT pg_catalog.pg_extension_config_dump('biometric.checkpoint', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.verifier', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.cosignature', '');

CREATE FUNCTION biometric.checkpoint()
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_checkpoint'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.checkpoint() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.checkpoint() TO biometric_auditor;
COMMENT ON FUNCTION biometric.checkpoint() IS
'The newest signed head of the present log, a note of C2SP tlog-checkpoint with what witnesses have signed below: covers every entry that was durable before the call, for which it waits about a second, at most biometric_audit.ledger_timeout. On a standby, and of a log that takes no more entries, the newest one that is stored. Errors: 55000 when nothing has been signed, without biometric_audit.signing_key, or when the time is over; 22P05 in a database whose encoding does not have the em dash of signed notes, for which there is checkpoint_note().';

CREATE FUNCTION biometric.checkpoint(size pg_catalog.int8)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_checkpoint_from'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.checkpoint(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.checkpoint(pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.checkpoint(pg_catalog.int8) IS
'The earliest stored checkpoint of the present log that covers size entries or more, with its cosignatures; NULL when there is none. Errors: 22023 for a negative size, 22P05 as checkpoint().';

CREATE FUNCTION biometric.checkpoint_note(size pg_catalog.int8 DEFAULT NULL)
RETURNS pg_catalog.bytea AS 'MODULE_PATHNAME', 'audit_checkpoint_note'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.checkpoint_note(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.checkpoint_note(pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.checkpoint_note(pg_catalog.int8) IS
'What checkpoint() returns, or with a size checkpoint(size), as the bytes that were signed: in UTF-8, whatever the encoding of the database. Errors: as theirs, except 22P05.';

CREATE FUNCTION biometric.verifier_key()
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_verifier_key'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.verifier_key() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.verifier_key() TO biometric_auditor;
COMMENT ON FUNCTION biometric.verifier_key() IS
'The verifier key (C2SP signed-note: name+id+base64) of the key that signs the present log''s checkpoints; of a log that nobody signs now, of the key that did last. Give it to whoever is to check the ledger, by a way of its own. Error 55000 when there is none.';

CREATE FUNCTION biometric.inclusion_proof(
	seq pg_catalog.int8, size pg_catalog.int8 DEFAULT NULL)
RETURNS pg_catalog.bytea[] AS 'MODULE_PATHNAME', 'audit_inclusion_proof'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.inclusion_proof(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.inclusion_proof(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.inclusion_proof(pg_catalog.int8, pg_catalog.int8) IS
'The proof (RFC 9162 section 2.1.3, hashes of 32 bytes) that entry seq, from 0, is one of the first size entries of the present log; size NULL: of all that are durable. Errors: 22023 unless 0 <= seq < size <= the present size or for seq NULL, XX001 when rows that it needs are missing.';

CREATE FUNCTION biometric.consistency_proof(old_size pg_catalog.int8, new_size pg_catalog.int8)
RETURNS pg_catalog.bytea[] AS 'MODULE_PATHNAME', 'audit_consistency_proof'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.consistency_proof(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.consistency_proof(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.consistency_proof(pg_catalog.int8, pg_catalog.int8) IS
'The proof (RFC 9162 section 2.1.4, hashes of 32 bytes) that the present log''s first new_size entries begin with its first old_size ones; empty when these are equal or old_size is 0. Errors: 22023 unless 0 <= old_size <= new_size <= the present size, XX001 when rows that it needs are missing.';

CREATE FUNCTION biometric.tlog_proof(seq pg_catalog.int8, size pg_catalog.int8 DEFAULT NULL)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_tlog_proof'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.tlog_proof(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.tlog_proof(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.tlog_proof(pg_catalog.int8, pg_catalog.int8) IS
'Everything that proves entry seq, from 0, of the present log, as a file of C2SP tlog-proof: the entry itself, in base64, as extra data, the inclusion proof, and the newest checkpoint with all its cosignatures; with size, the earliest stored checkpoint that covers size entries. Errors: 22023 for an entry or a size that there is not, 55000 when no checkpoint covers it (see checkpoint()), XX001 when rows are missing, 22P05 in a database whose encoding does not have the em dash of signed notes, for which there is tlog_proof_file().';

CREATE FUNCTION biometric.tlog_proof_file(seq pg_catalog.int8, size pg_catalog.int8 DEFAULT NULL)
RETURNS pg_catalog.bytea AS 'MODULE_PATHNAME', 'audit_tlog_proof_file'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.tlog_proof_file(pg_catalog.int8, pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.tlog_proof_file(pg_catalog.int8, pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.tlog_proof_file(pg_catalog.int8, pg_catalog.int8) IS
'What tlog_proof() returns, as the bytes of the file: in UTF-8, whatever the encoding of the database. Errors: as of tlog_proof(), except 22P05.';

CREATE FUNCTION biometric.add_checkpoint_request(old_size pg_catalog.int8)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_add_checkpoint_request'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.add_checkpoint_request(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.add_checkpoint_request(pg_catalog.int8)
	TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.add_checkpoint_request(pg_catalog.int8) IS
'What to send to a witness that has seen old_size entries, 0 for none yet: the body of add-checkpoint of C2SP tlog-witness, with the newest checkpoint. What the witness answers, appended to that checkpoint, goes to add_cosignature. Errors: 22023 for an old size that there is not; as checkpoint() otherwise.';

CREATE FUNCTION biometric.add_checkpoint_body(old_size pg_catalog.int8)
RETURNS pg_catalog.bytea AS 'MODULE_PATHNAME', 'audit_add_checkpoint_body'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.add_checkpoint_body(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.add_checkpoint_body(pg_catalog.int8)
	TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.add_checkpoint_body(pg_catalog.int8) IS
'What add_checkpoint_request() returns, as bytes: in UTF-8, whatever the encoding of the database. Errors: as of add_checkpoint_request(), except 22P05.';

CREATE FUNCTION biometric.add_cosignature(checkpoint pg_catalog.text)
RETURNS pg_catalog.int4 AS 'MODULE_PATHNAME', 'audit_add_cosignature'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.add_cosignature(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.add_cosignature(pg_catalog.text)
	TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.add_cosignature(pg_catalog.text) IS
'Takes in what witnesses have signed: a checkpoint of the present log with signature lines of witnesses below, whose verifier keys biometric_audit.witnesses lists; lines of others are passed over, white space around the text does not matter. Returns how many are new; the checkpoint and they are kept for good. Errors, and then nothing is kept: 22023 for a text that is no checkpoint, that no key of this log has signed, whose root is not the log''s, that no known witness has signed, or with a signature that is wrong.';

CREATE FUNCTION biometric.add_cosignature(checkpoint pg_catalog.bytea)
RETURNS pg_catalog.int4 AS 'MODULE_PATHNAME', 'audit_add_cosignature_bytes'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.add_cosignature(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.add_cosignature(pg_catalog.bytea)
	TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.add_cosignature(pg_catalog.bytea) IS
'The same for the bytes of a checkpoint and what witnesses have signed below: in UTF-8, whatever the encoding of the database.';

-- For the views: a row that is malformed, which a dump may bring, must not keep the others from being read.
CREATE FUNCTION biometric.note_text(note pg_catalog.bytea)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'audit_note_text'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.note_text(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.note_text(pg_catalog.bytea) TO biometric_auditor;
COMMENT ON FUNCTION biometric.note_text(pg_catalog.bytea) IS
'A note, or a signature line, in UTF-8, as text; NULL when it is no UTF-8, longer than 131072 bytes, or has a character that the database''s encoding does not have, such as the em dash before a signature. No errors.';

CREATE FUNCTION biometric.checkpoint_head(
	note pg_catalog.bytea, OUT origin pg_catalog.text, OUT root pg_catalog.bytea)
RETURNS record AS 'MODULE_PATHNAME', 'audit_checkpoint_head'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.checkpoint_head(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.checkpoint_head(pg_catalog.bytea) TO biometric_auditor;
COMMENT ON FUNCTION biometric.checkpoint_head(pg_catalog.bytea) IS
'Origin and root (32 bytes) that a signed checkpoint says, in UTF-8; no signature is verified. NULL when it is no checkpoint. No errors.';

CREATE VIEW biometric.checkpoints AS
SELECT c.log_id, c.size, c.at, d.origin, d.root,
	ARRAY(SELECT pg_catalog.rtrim(biometric.note_text(s.line), E'\n')
		FROM ONLY biometric.cosignature s
		WHERE s.log_id OPERATOR(pg_catalog.=) c.log_id AND s.size OPERATOR(pg_catalog.=) c.size
		ORDER BY s.vkey) AS cosignatures,
	biometric.note_text(c.note) AS note
FROM ONLY biometric.checkpoint c
	CROSS JOIN LATERAL biometric.checkpoint_head(c.note) AS d;
REVOKE ALL ON biometric.checkpoints FROM PUBLIC;
GRANT SELECT ON biometric.checkpoints TO biometric_auditor;
COMMENT ON VIEW biometric.checkpoints IS
'The signed heads that are stored, of this database''s logs and of those that were restored. log_id: the log. size: entries that it covers. at: when it was signed. origin, root: what its text says; NULL when the row is malformed. cosignatures: signature lines of witnesses. note: the checkpoint as it was signed. note and signature lines are NULL when they are malformed, or have characters that the database''s encoding does not have; see checkpoint_note().';

CREATE VIEW biometric.verifier_keys AS
SELECT v.log_id, v.vkey, v.since, v.at FROM ONLY biometric.verifier v;
REVOKE ALL ON biometric.verifier_keys FROM PUBLIC;
GRANT SELECT ON biometric.verifier_keys TO biometric_auditor;
COMMENT ON VIEW biometric.verifier_keys IS
'The keys that have signed checkpoints, of this database''s logs and of those that were restored, as verifier keys of C2SP signed-note. since: sequence number of the entry key_changed in that log. at: when the key signed first.';

CREATE FUNCTION biometric.verify_ledger(
	checkpoint pg_catalog.text,
	OUT ok pg_catalog.bool, OUT size pg_catalog.int8, OUT root pg_catalog.bytea,
	OUT problem pg_catalog.text)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_verify_checkpoint'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.verify_ledger(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.verify_ledger(pg_catalog.text) TO biometric_auditor;
COMMENT ON FUNCTION biometric.verify_ledger(pg_catalog.text) IS
'Verifies the whole ledger as verify_ledger() does, and then that it still is what a checkpoint says that was kept elsewhere: signed by a key of one of this database''s logs, with the root of that log''s first entries, none of them beyond its end. size, root: the present log''s. problem: what is wrong, or NULL. A checkpoint that was kept outside finds what nothing inside can: a history that was rewritten or rolled back as a whole. White space around it does not matter. Error 22023 for a text that is no checkpoint.';

CREATE FUNCTION biometric.verify_ledger(
	checkpoint pg_catalog.bytea,
	OUT ok pg_catalog.bool, OUT size pg_catalog.int8, OUT root pg_catalog.bytea,
	OUT problem pg_catalog.text)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_verify_note'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.verify_ledger(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.verify_ledger(pg_catalog.bytea) TO biometric_auditor;
COMMENT ON FUNCTION biometric.verify_ledger(pg_catalog.bytea) IS
'The same for the bytes of a checkpoint, as checkpoint_note() returns them: in UTF-8, whatever the encoding of the database.';

-- The ledger: tables that its worker writes, views and functions that auditors read.

CREATE TABLE biometric.log (
	log_id pg_catalog.uuid NOT NULL PRIMARY KEY,
	ordinal pg_catalog.int4 UNIQUE,
	database_oid pg_catalog.oid NOT NULL,
	system_identifier pg_catalog.int8 NOT NULL,
	timeline pg_catalog.int4 NOT NULL,
	created_at pg_catalog.timestamptz NOT NULL,
	parent pg_catalog.uuid,
	parent_size pg_catalog.int8,
	parent_root pg_catalog.bytea,
	reason pg_catalog.text,
	retired_at pg_catalog.timestamptz,
	adopted_at pg_catalog.timestamptz,
	adopted_size pg_catalog.int8,
	adopted_root pg_catalog.bytea,
	segment_size pg_catalog.int8 NOT NULL
		CHECK (segment_size OPERATOR(pg_catalog.=) ANY (ARRAY[1024, 32768, 1048576, 33554432]::pg_catalog.int8[])),
	instance pg_catalog.text,
	fenced_at pg_catalog.timestamptz,
	fenced_by pg_catalog.text
);
REVOKE ALL ON biometric.log FROM PUBLIC;
COMMENT ON TABLE biometric.log IS
'The identities of this database''s ledger: a row a log, the highest ordinal is the one that is written. A log that was forked names its parent, and the parent''s size and root at that moment. Logs restored from a dump have no ordinal: they are history, can be verified, and count for nothing until fork_ledger() adopts them. retired_at: when retire_ledger() closed it. adopted_at, adopted_size, adopted_root: when a restored log was adopted, and what was verified then. segment_size: entries of a segment, a power of 32. instance: the data directory that writes the log, so that a copy of it is told apart. fenced_at, fenced_by: since when, and by what (hand_over, anchor), this copy of the log takes no more entries.';

CREATE VIEW biometric.entry AS
SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_00
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_01
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_02
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_03
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_04
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_05
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_06
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_07
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_08
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_09
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_10
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_11
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_12
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_13
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_14
UNION ALL SELECT log_id, seq, leaf_hint, entry FROM ONLY biometric.entry_15;
REVOKE ALL ON biometric.entry FROM PUBLIC;
COMMENT ON VIEW biometric.entry IS
'All entries of all logs, from the tables that they are kept in: segment n of a log, that is its entries from n times biometric.log.segment_size on, in table entry_NN, where NN is n modulo 16.';

CREATE TABLE biometric.tile (
	log_id pg_catalog.uuid NOT NULL,
	level pg_catalog.int2 NOT NULL,
	index pg_catalog.int8 NOT NULL,
	hashes pg_catalog.bytea NOT NULL,
	PRIMARY KEY (log_id, level, index)
);
ALTER TABLE biometric.tile ALTER COLUMN hashes SET STORAGE PLAIN;
REVOKE ALL ON biometric.tile FROM PUBLIC;
COMMENT ON TABLE biometric.tile IS
'The full tiles of the Merkle tree, from level 1 on: 32 hashes of 32 bytes of tree level 5 * level, from 32 * index on. Those of level 0 are the hashes of the entries themselves. Of a segment that was detached there are its topmost tile and, where it has 32768 entries, those of level 1.';

CREATE TABLE biometric.head (
	log_id pg_catalog.uuid NOT NULL PRIMARY KEY,
	size pg_catalog.int8 NOT NULL,
	root pg_catalog.bytea NOT NULL,
	tail pg_catalog.bytea NOT NULL,
	settled pg_catalog.int8,
	unsettled pg_catalog.int8[]
);
ALTER TABLE biometric.head ALTER COLUMN root SET STORAGE PLAIN;
ALTER TABLE biometric.head ALTER COLUMN tail SET STORAGE PLAIN;
REVOKE ALL ON biometric.head FROM PUBLIC;
COMMENT ON TABLE biometric.head IS
'The edge of each log as it was last written down, at most a second ago while the ledger grows: size, root, and the leaf hashes that are in no full tile. settled: of the entries below it, what became of their transactions is known, except for those in unsettled: pairs of a transaction''s full id and its number of entries.';

CREATE TABLE biometric.segment (
	log_id pg_catalog.uuid NOT NULL,
	segment pg_catalog.int8 NOT NULL,
	root pg_catalog.bytea NOT NULL,
	detached_at pg_catalog.timestamptz NOT NULL,
	reason pg_catalog.text NOT NULL,
	PRIMARY KEY (log_id, segment)
);
ALTER TABLE biometric.segment ALTER COLUMN root SET STORAGE PLAIN;
REVOKE ALL ON biometric.segment FROM PUBLIC;
COMMENT ON TABLE biometric.segment IS
'The segments of each log that were detached: their entries are kept elsewhere. segment: its number, from 0. root: the Merkle root over its entries alone, the same that its topmost tile has. reason: why it was detached.';

CREATE TABLE biometric.image_entry (
	log_id pg_catalog.uuid NOT NULL,
	image_id pg_catalog.uuid NOT NULL,
	seq pg_catalog.int8 NOT NULL,
	PRIMARY KEY (log_id, image_id, seq)
);
REVOKE ALL ON biometric.image_entry FROM PUBLIC;
COMMENT ON TABLE biometric.image_entry IS
'From an image to the entries that stored, replaced, erased or purged it. Derived from the entries, which alone are evidence.';

SELECT pg_catalog.pg_extension_config_dump('biometric.log', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.tile', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.head', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.segment', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.image_entry', '');

-- The ledger's first identity, made here: what a dump brings afterwards can never be taken for it.
CREATE FUNCTION biometric.begin_ledger() RETURNS void
	AS 'MODULE_PATHNAME', 'ledger_begin' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.begin_ledger() FROM PUBLIC;
COMMENT ON FUNCTION biometric.begin_ledger() IS
'Makes this database''s own row of biometric.log: a random id, ordinal 1, this database, this cluster. Only in the script of CREATE EXTENSION, which drops it again.';
SELECT biometric.begin_ledger();
DROP FUNCTION biometric.begin_ledger();

CREATE FUNCTION biometric.decode_entry(
	entry pg_catalog.bytea,
	OUT event pg_catalog.text, OUT at pg_catalog.timestamptz, OUT reference pg_catalog.int8,
	OUT image_id pg_catalog.uuid, OUT kind pg_catalog.text, OUT relation_index pg_catalog.int4,
	OUT permit pg_catalog.int8, OUT reason pg_catalog.text, OUT party pg_catalog.text,
	OUT network pg_catalog.text, OUT client_addr pg_catalog.text,
	OUT session_user_name pg_catalog.text, OUT current_user_name pg_catalog.text,
	OUT application pg_catalog.text, OUT purpose pg_catalog.text, OUT command pg_catalog.text,
	OUT query_id pg_catalog.int8, OUT relations pg_catalog.text[], OUT detail pg_catalog.jsonb,
	OUT process pg_catalog.int4, OUT database pg_catalog.text, OUT tls pg_catalog.bool,
	OUT relation pg_catalog.text, OUT operation pg_catalog.text,
	OUT old_image_id pg_catalog.uuid, OUT column_name pg_catalog.text,
	OUT row_key pg_catalog.jsonb, OUT transaction pg_catalog.xid8,
	OUT relation_oid pg_catalog.oid, OUT collected pg_catalog.jsonb, OUT digest pg_catalog.bytea,
	OUT key pg_catalog.int8, OUT picture_hash pg_catalog.bytea, OUT marked pg_catalog.bool)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_decode_entry'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.decode_entry(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.decode_entry(pg_catalog.bytea) TO biometric_auditor;
COMMENT ON FUNCTION biometric.decode_entry(pg_catalog.bytea) IS
'Decodes the canonical bytes of a ledger entry, as leaf() returns them, into its fields; a field that the entry does not have is NULL. reference is the sequence number of the statement or session entry that it belongs to. collected: which of a row''s columns its table''s owner named (of: the table that was described; subject, place, time) when the image was stored. digest: keyed digest of the image; picture_hash: what it looks like, blinded; key: id of the key that both belong to. marked: the image was released with a mark. Error 22023 for bytes that are no canonical entry.';

CREATE FUNCTION biometric.ledger_row(
	log_id pg_catalog.uuid, seq pg_catalog.int8, entry pg_catalog.bytea,
	OUT at pg_catalog.timestamptz, OUT event pg_catalog.text, OUT statement pg_catalog.int8,
	OUT party pg_catalog.text, OUT client_addr pg_catalog.text,
	OUT session_user_name pg_catalog.text, OUT application pg_catalog.text,
	OUT purpose pg_catalog.text, OUT kind pg_catalog.text, OUT image_id pg_catalog.uuid,
	OUT relation pg_catalog.text, OUT detail pg_catalog.jsonb, OUT permit pg_catalog.int8,
	OUT reason pg_catalog.text, OUT network pg_catalog.text, OUT command pg_catalog.text,
	OUT operation pg_catalog.text, OUT old_image_id pg_catalog.uuid,
	OUT column_name pg_catalog.text, OUT transaction pg_catalog.xid8,
	OUT relation_oid pg_catalog.oid, OUT collected pg_catalog.jsonb)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_row'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.ledger_row(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.ledger_row(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea)
	TO biometric_auditor;
COMMENT ON FUNCTION biometric.ledger_row(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea) IS
'Decodes an entry of a log together with the statement and session entries that it refers to: a row of the ledger views. An entry that cannot be decoded has the event "unreadable".';

CREATE FUNCTION biometric.entry_row_key(
	log_id pg_catalog.uuid, seq pg_catalog.int8, entry pg_catalog.bytea)
RETURNS pg_catalog.jsonb AS 'MODULE_PATHNAME', 'ledger_entry_row_key'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.entry_row_key(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.entry_row_key(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea)
	TO biometric_auditor;
COMMENT ON FUNCTION biometric.entry_row_key(pg_catalog.uuid, pg_catalog.int8, pg_catalog.bytea) IS
'The key of the row that an entry is about, a JSON object: of a change, what the entry says; of an image that was disclosed or observed, what the latest change before it says that stored this image, in the same relation if there is one. NULL when nothing is known.';

CREATE FUNCTION biometric.recorded_text(text pg_catalog.text)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'ledger_recorded_text'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.recorded_text(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.recorded_text(pg_catalog.text)
	TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.recorded_text(pg_catalog.text) IS
'How a text of this database reads in the ledger''s views, whose entries are UTF-8: the same, but for bytes that are no characters, which are escaped as \xNN. In databases of encoding SQL_ASCII, such bytes are possible in any text. No errors.';

CREATE FUNCTION biometric.transaction_state(log_id pg_catalog.uuid, transaction pg_catalog.xid8)
RETURNS pg_catalog.text AS 'MODULE_PATHNAME', 'ledger_transaction_state'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.transaction_state(pg_catalog.uuid, pg_catalog.xid8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.transaction_state(pg_catalog.uuid, pg_catalog.xid8)
	TO biometric_auditor;
COMMENT ON FUNCTION biometric.transaction_state(pg_catalog.uuid, pg_catalog.xid8) IS
'What became of a transaction that entries of a log name: "committed", "in progress" (also: prepared), "aborted", or "unknown". From the server''s transaction status; for one so old that this is gone, from the log''s own entries of event aborted.';

CREATE VIEW biometric.ledger AS
SELECT e.seq, r.at, r.event, r.statement, r.party, r.client_addr, r.session_user_name,
	r.application, r.purpose, r.kind, r.image_id, r.relation,
	biometric.entry_row_key(e.log_id, e.seq, e.entry) AS row_key, r.detail
FROM biometric.entry e
	CROSS JOIN LATERAL biometric.ledger_row(e.log_id, e.seq, e.entry) r
WHERE e.log_id OPERATOR(pg_catalog.=)
	(SELECT l.log_id FROM ONLY biometric.log l ORDER BY l.ordinal DESC NULLS LAST LIMIT 1);
REVOKE ALL ON biometric.ledger FROM PUBLIC;
GRANT SELECT ON biometric.ledger TO biometric_auditor;
COMMENT ON VIEW biometric.ledger IS
'Every entry of the present log. seq: its sequence number, from 0. at: when it was made. statement: sequence number of the entry of its statement. detail: whatever else the entry says.';

CREATE VIEW biometric.disclosure AS
SELECT e.seq, r.at, r.event, r.statement, r.party, r.client_addr, r.session_user_name,
	r.application, r.purpose, r.kind, r.image_id, r.relation,
	biometric.entry_row_key(e.log_id, e.seq, e.entry) AS row_key, r.detail, r.permit, r.reason, r.network
FROM biometric.entry e
	CROSS JOIN LATERAL biometric.ledger_row(e.log_id, e.seq, e.entry) r
WHERE e.log_id OPERATOR(pg_catalog.=)
	(SELECT l.log_id FROM ONLY biometric.log l ORDER BY l.ordinal DESC NULLS LAST LIMIT 1)
	AND r.event OPERATOR(pg_catalog.=) ANY (ARRAY['disclosed', 'observed']);
REVOKE ALL ON biometric.disclosure FROM PUBLIC;
GRANT SELECT ON biometric.disclosure TO biometric_auditor;
COMMENT ON VIEW biometric.disclosure IS
'Each image that was about to be released: to which party, when, through which network, for what purpose. event: disclosed (a permit allowed it) or observed (let through although a rule, the reason, was broken).';

CREATE VIEW biometric.refusal AS
SELECT e.seq, r.at, r.event, r.statement, r.party, r.client_addr, r.session_user_name,
	r.application, r.purpose, r.kind, r.image_id, r.relation,
	biometric.entry_row_key(e.log_id, e.seq, e.entry) AS row_key, r.detail, r.reason, r.network, r.command
FROM biometric.entry e
	CROSS JOIN LATERAL biometric.ledger_row(e.log_id, e.seq, e.entry) r
WHERE e.log_id OPERATOR(pg_catalog.=)
	(SELECT l.log_id FROM ONLY biometric.log l ORDER BY l.ordinal DESC NULLS LAST LIMIT 1)
	AND r.event OPERATOR(pg_catalog.=) 'refused';
REVOKE ALL ON biometric.refusal FROM PUBLIC;
GRANT SELECT ON biometric.refusal TO biometric_auditor;
COMMENT ON VIEW biometric.refusal IS
'Each statement that was refused images: who asked, from where, with which command, and the rule (reason) that refused.';

CREATE VIEW biometric.change AS
SELECT e.seq, r.at, r.event, r.statement, r.party, r.client_addr, r.session_user_name,
	r.application, r.purpose, r.kind, r.image_id, r.relation,
	biometric.entry_row_key(e.log_id, e.seq, e.entry) AS row_key, r.detail, r.operation,
	r.column_name, r.old_image_id, r.transaction, r.relation_oid, r.command,
	CASE WHEN r.event OPERATOR(pg_catalog.=) 'aborted'
		THEN coalesce(r.detail OPERATOR(pg_catalog.->>) 'outcome', 'aborted')
		ELSE biometric.transaction_state(e.log_id, r.transaction) END AS state,
	r.collected
FROM biometric.entry e
	CROSS JOIN LATERAL biometric.ledger_row(e.log_id, e.seq, e.entry) r
WHERE e.log_id OPERATOR(pg_catalog.=)
	(SELECT l.log_id FROM ONLY biometric.log l ORDER BY l.ordinal DESC NULLS LAST LIMIT 1)
	AND r.event OPERATOR(pg_catalog.=)
		ANY (ARRAY['stored', 'replaced', 'erased', 'purged', 'truncated', 'dropped', 'aborted']);
REVOKE ALL ON biometric.change FROM PUBLIC;
GRANT SELECT ON biometric.change TO biometric_auditor;
COMMENT ON VIEW biometric.change IS
'Each change of an image: which one, where (relation, column_name, row_key), by which operation, and in which transaction (command: what ended it, COMMIT or PREPARE TRANSACTION). An entry is made just before the transaction commits or is prepared; state says what became of it: committed, in progress, aborted, or unknown. Of a transaction that did not commit after all there is an entry of event aborted, too. collected: {"of": "...", "subject": {...}, "place": {...}, "time": "..."}, as describe_collection() had named the row''s columns by then; NULL: it had not. The other columns: as of biometric.ledger.';

CREATE FUNCTION biometric.verify_ledger(
	OUT ok pg_catalog.bool, OUT size pg_catalog.int8, OUT root pg_catalog.bytea,
	OUT problem pg_catalog.text)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_verify'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.verify_ledger() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.verify_ledger() TO biometric_auditor;
COMMENT ON FUNCTION biometric.verify_ledger() IS
'Hashes every entry and compares the whole tree with what is stored of it and with what the ledger''s worker holds in shared memory; checkpoints, the rows that identify logs and detached segments, and image_entry, activity and traced with what the entries say. size: number of entries that were verified; root: the Merkle root over them; problem: NULL if ok, otherwise the first entry or tile that is not what it was when it was written.';

CREATE FUNCTION biometric.verify_ledger(log_id pg_catalog.uuid,
	OUT ok pg_catalog.bool, OUT size pg_catalog.int8, OUT root pg_catalog.bytea,
	OUT problem pg_catalog.text)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_verify_restored'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.verify_ledger(pg_catalog.uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.verify_ledger(pg_catalog.uuid) TO biometric_auditor;
COMMENT ON FUNCTION biometric.verify_ledger(pg_catalog.uuid) IS
'Verifies a log that was restored from a dump, as verify_ledger() does the present one: every entry against the tree, the tree against the edge that was dumped with it, against the log that was forked from it, and against what was verified when it was adopted. log_id: as in biometric.ledger_history. Result: as of verify_ledger(). Error 22023 when no such log was restored.';

CREATE FUNCTION biometric.leaf(seq pg_catalog.int8)
RETURNS pg_catalog.bytea AS 'MODULE_PATHNAME', 'ledger_leaf'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.leaf(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.leaf(pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.leaf(pg_catalog.int8) IS
'The canonical bytes of the entry with sequence number seq (from 0) of the present log. Its leaf hash is SHA-256 of a zero byte and these bytes (RFC 9162). Errors: 22023 when there is no such entry, 55000 when it is in a segment that was detached.';

CREATE FUNCTION biometric.root(size pg_catalog.int8 DEFAULT NULL)
RETURNS pg_catalog.bytea AS 'MODULE_PATHNAME', 'ledger_root'
LANGUAGE C STABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.root(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.root(pg_catalog.int8) TO biometric_auditor;
COMMENT ON FUNCTION biometric.root(pg_catalog.int8) IS
'The Merkle root (RFC 9162, 32 bytes) over the first size entries of the present log, 0 to the present size; NULL means the present size. Errors: 22023 for any other size, 55000 for one that cuts through a segment that was detached.';

CREATE FUNCTION biometric.ledger_status(
	OUT state pg_catalog.text, OUT worker_pid pg_catalog.int4, OUT log_id pg_catalog.uuid,
	OUT size pg_catalog.int8, OUT root pg_catalog.bytea, OUT pending pg_catalog.int8,
	OUT ring_used pg_catalog.int8, OUT ring_size pg_catalog.int8, OUT last_error pg_catalog.text,
	OUT checkpoint_size pg_catalog.int8, OUT checkpoint_at pg_catalog.timestamptz,
	OUT checkpoint_error pg_catalog.text, OUT anchored_size pg_catalog.int8,
	OUT anchored_at pg_catalog.timestamptz, OUT anchor_failures pg_catalog.int8,
	OUT anchor_error pg_catalog.text)
RETURNS record AS 'MODULE_PATHNAME', 'ledger_status'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.ledger_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.ledger_status() TO biometric_auditor, biometric_custodian;
COMMENT ON FUNCTION biometric.ledger_status() IS
'How the ledger of this database is doing. state: starting, ready, broken (its tables contradict its tree), foreign (a copy that waits for fork_ledger), retired (by retire_ledger), standby, or none (no place in shared memory). size and root: what is durable. pending: entries that are not yet durable. ring_used, ring_size: bytes. last_error: what ended the last worker, or NULL. checkpoint_size, checkpoint_at: entries that the newest signed checkpoint covers, and when it was signed; NULL when there is none. checkpoint_error: why nothing is signed although biometric_audit.signing_key is set, or NULL. anchored_size, anchored_at: the checkpoint that was last delivered outside by biometric_audit.checkpoint_command, and when. anchor_failures: how often in a row that has failed since; anchor_error: how it failed last, or NULL.';

CREATE FUNCTION biometric.fork_ledger(reason pg_catalog.text)
RETURNS pg_catalog.uuid AS 'MODULE_PATHNAME', 'ledger_fork'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.fork_ledger(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.fork_ledger(pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.fork_ledger(pg_catalog.text) IS
'Where logs were restored from a dump and the present log is in order: verifies them and adopts those that verify, with an entry "forked" in the present log for each that names it with size, root and the reason given, and returns the present log''s id; a WARNING names each that does not verify, which is left as it is. Otherwise begins a new log in this database, after the present one has been copied from elsewhere, damaged or retired: its entry 0, "forked", names the log it came from in the same way; returns the new log''s id, and the log is there once the transaction is committed. For custodians. Errors: 42501 for others, 22023 without a reason, 55000 when restored logs are to be adopted and none verifies, and as long as the worker has not begun the fork before (see ledger_status()).';

CREATE FUNCTION biometric.retire_ledger(reason pg_catalog.text)
RETURNS void AS 'MODULE_PATHNAME', 'ledger_retire'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION biometric.retire_ledger(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.retire_ledger(pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.retire_ledger(pg_catalog.text) IS
'Closes this database''s ledger with a last entry, policy_changed, that gives the reason: from the commit on nothing is released or stored, and the extension may be dropped. fork_ledger() undoes it by a new log. For custodians. Errors: 42501 for others, 22023 without a reason, 55000 when it is retired already, when its worker has not begun it yet, and at the end of a transaction that changes images or the policy, too.';

CREATE VIEW biometric.ledger_history AS
SELECT e.log_id, e.seq, r.at, r.event, r.statement, r.party, r.client_addr, r.session_user_name,
	r.application, r.purpose, r.kind, r.image_id, r.relation,
	biometric.entry_row_key(e.log_id, e.seq, e.entry) AS row_key, r.detail
FROM ONLY biometric.log l
	JOIN biometric.entry e ON e.log_id OPERATOR(pg_catalog.=) l.log_id
	CROSS JOIN LATERAL biometric.ledger_row(e.log_id, e.seq, e.entry) r
WHERE l.ordinal IS NULL;
REVOKE ALL ON biometric.ledger_history FROM PUBLIC;
GRANT SELECT ON biometric.ledger_history TO biometric_auditor;
COMMENT ON VIEW biometric.ledger_history IS
'Every entry of the logs that were restored from dumps. log_id: the log, for verify_ledger(log_id). The other columns: as of biometric.ledger.';

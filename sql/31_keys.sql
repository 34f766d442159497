-- The keys that this database knows, and the columns whose images have keys of their own.

CREATE TABLE biometric.key_pin (
	log_id pg_catalog.uuid NOT NULL,
	key_id pg_catalog.int8 NOT NULL
		CHECK (key_id OPERATOR(pg_catalog.>=) 1 AND key_id OPERATOR(pg_catalog.<=) 4294967295),
	key_check pg_catalog.bytea NOT NULL
		CHECK (pg_catalog.octet_length(key_check) OPERATOR(pg_catalog.=) 32),
	home pg_catalog.uuid,
	period pg_catalog.tstzrange,
	pinned_at pg_catalog.timestamptz NOT NULL,
	state pg_catalog.text NOT NULL
		CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['usable', 'shredding', 'shredded'])),
	requested_at pg_catalog.timestamptz,
	requested_by pg_catalog.text,
	reason pg_catalog.text,
	shredded_at pg_catalog.timestamptz,
	owed pg_catalog.text,
	problem pg_catalog.text,
	PRIMARY KEY (log_id, key_id),
	CHECK ((home IS NULL) OPERATOR(pg_catalog.=) (period IS NULL)),
	CHECK ((state OPERATOR(pg_catalog.=) 'shredded') OPERATOR(pg_catalog.=)
		(shredded_at IS NOT NULL))
);
REVOKE ALL ON biometric.key_pin FROM PUBLIC;
GRANT SELECT ON biometric.key_pin TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.key_pin IS
'The keys that the ledger''s worker has ever seen in the keyring: under an id only the key counts that was seen under it first. key_check: what the key is recognised by, derived from it (HKDF-SHA256, info "biometric_audit 1 check"); it opens nothing. home, period: of a key that is bound to a column (biometric.home) and a time. state: usable; shredding, since requested_at: it opens nothing any more and is about to be taken from the keyring; shredded. owed: the entry that the ledger is still to get. problem: what stands in the way of shredding. Rows of this database''s own logs count; of others, as a dump brings them, those that say that a key with that key_check was shredded. A key that another database of the server shredded, to a column of which it was bound, is shredded here, too. Kept by biometric_audit alone.';
SELECT pg_catalog.pg_extension_config_dump('biometric.key_pin', '');

CREATE TABLE biometric.key_binding (
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.regclass NOT NULL,
	attnum pg_catalog.int2 NOT NULL,
	column_name pg_catalog.name NOT NULL,
	period pg_catalog.interval NOT NULL,
	declared_at pg_catalog.timestamptz NOT NULL,
	declared_by pg_catalog.text NOT NULL,
	PRIMARY KEY (log_id, relation, attnum)
);
REVOKE ALL ON biometric.key_binding FROM PUBLIC;
GRANT SELECT ON biometric.key_binding TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.key_binding IS
'The columns whose images are sealed under keys of their own, one a period, as key_period() was told; for partitions and heirs, by the column''s name, too. Rows of this database''s own log count by relation and attnum, those of a log that fork_ledger() adopted by relation and column_name, all others not at all. Kept by biometric_audit alone.';

-- Tables that a restore cannot have are left out: it could not read their names.
SELECT pg_catalog.pg_extension_config_dump('biometric.key_binding',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c '
	'WHERE c.oid OPERATOR(pg_catalog.=) relation '
	'AND c.relpersistence OPERATOR(pg_catalog.<>) ''t'')');

CREATE FUNCTION biometric.keyring_state(
	OUT key_id pg_catalog.int8, OUT key_check pg_catalog.bytea, OUT active pg_catalog.bool,
	OUT problem pg_catalog.text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'biometric_keyring_state'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION biometric.keyring_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.keyring_state() TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.keyring_state() IS
'Reads the keyring and lists what it holds, a row a key: its id, what it is recognised by (as biometric.key_pin has it), and whether it seals new images now. When the keyring cannot be used: one row with problem alone, which says why. No key''s bytes. For custodians and auditors.';

CREATE FUNCTION biometric.rotate_key() RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'biometric_rotate_key' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.rotate_key() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.rotate_key() TO biometric_custodian;
COMMENT ON FUNCTION biometric.rotate_key() IS
'Makes a new key, puts it into the keyring, and returns its id, one higher than any that the keyring holds or this database has known (beyond 2147483647 as key_id() has it). From then on new images of every database that uses the keyring are sealed under it; those that there are keep theirs until reseal(). The keyring file is replaced by rename and flushed, or keyring_change_command is run. Not undone by ROLLBACK: the key stays. An entry key_changed says so. Errors: 42501 unless the caller is a custodian; F0000 when the keyring cannot be read or changed; 55000 when the ledger''s worker did not come to know the key in time, and in the transaction that created the extension; 25001 and 25006 as for changes of the policy.';

CREATE FUNCTION biometric.shred_key(key_id pg_catalog.int8, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_shred_key' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.shred_key(pg_catalog.int8, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.shred_key(pg_catalog.int8, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.shred_key(pg_catalog.int8, pg_catalog.text) IS
'Destroys a key, and with it every image under it, here and in every backup, dump, standby and WAL file. When the transaction commits the key opens nothing in this database any more; the ledger''s worker then takes it from the keyring, waits until no process holds it, or ends those that do, and writes the entry key_changed, action key_shredded. COMMIT waits for that, at most 20 seconds, and warns when it goes on without. What images say of themselves, and the ledger, stay. It waits for prepared transactions that have stored images under the key. Undone by ROLLBACK alone. A keyring that several databases of the server use loses the key when all of them that know it have shredded it; a key that is bound to a column, when those have that have the column. Waits for another custodian when biometric_audit.two_person is on. Errors: 42501 unless the caller is a custodian; 42704 for a key that this database does not know; 55000 for the key that seals new images, one that is shredded already, and in the transaction that created the extension; 55006 when an image under it is held; 22023 without a reason; 40001 for other transactions that have stored images under the key and commit later; F0000 when the keyring cannot be read; 25001 and 25006 as for changes of the policy.';

CREATE FUNCTION biometric.key_period(relation pg_catalog.regclass, column_name pg_catalog.name,
		period pg_catalog.interval)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_key_period' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.key_period(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.key_period(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.interval) TO biometric_custodian;
COMMENT ON FUNCTION biometric.key_period(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.interval) IS
'Binds the images of a column, also of the table''s partitions and heirs, to keys of their own, one a period: whole months, or days and hours, at least one hour, counted from 2000-01-01 UTC. A key is made when the first image of its period is stored; an image''s time is what its retention counts from. shred_key() of a period''s key makes all images of that period unreadable and those of others stay; a period that is not over gets another key with its next image. Keys of other periods than the present one are made up to 384 a column and 768 in all, beyond which images are refused (54000). Images that are there keep their keys until reseal(). NULL: new images are sealed under the general key again. Errors: 42501 unless the caller is a custodian; 42703 for a column that does not exist; 42809 for a relation that is no table, or a column without images; 22023 for a period that is none; 55000 in the transaction that created the extension; 25001 and 25006 as for changes of the policy.';

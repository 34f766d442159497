-- One of the tables that the ledger's entries are kept in.

CREATE TABLE biometric.entry_@SLICE@ (
	log_id pg_catalog.uuid NOT NULL,
	seq pg_catalog.int8 NOT NULL,
	leaf_hint pg_catalog.int4 NOT NULL,
	entry pg_catalog.bytea NOT NULL,
	PRIMARY KEY (log_id, seq) WITH (fillfactor = 100)
);
ALTER TABLE biometric.entry_@SLICE@ ALTER COLUMN entry SET STORAGE EXTERNAL;
REVOKE ALL ON biometric.entry_@SLICE@ FROM PUBLIC;
COMMENT ON TABLE biometric.entry_@SLICE@ IS
'The ledger''s entries of each segment whose number leaves @SLICE@ when divided by 16, as the canonical bytes that are the leaves of its Merkle tree. seq counts from 0. leaf_hint: the first four bytes of the entry''s leaf hash, by which verify_ledger() tells which entry was changed; no evidence.';
SELECT pg_catalog.pg_extension_config_dump('biometric.entry_@SLICE@', '');

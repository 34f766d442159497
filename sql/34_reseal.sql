-- How far reseal() has come with a column.

CREATE TABLE biometric.reseal_progress (
	log_id pg_catalog.uuid NOT NULL,
	relation pg_catalog.oid NOT NULL,
	column_name pg_catalog.name NOT NULL,
	member pg_catalog.oid NOT NULL,
	block pg_catalog.int8 NOT NULL,
	again pg_catalog.bool NOT NULL,
	blocks_total pg_catalog.int8 NOT NULL,
	blocks_done pg_catalog.int8 NOT NULL,
	images_done pg_catalog.int8 NOT NULL,
	images_skipped pg_catalog.int8 NOT NULL,
	started_at pg_catalog.timestamptz NOT NULL,
	PRIMARY KEY (log_id, relation, column_name)
);
REVOKE ALL ON biometric.reseal_progress FROM PUBLIC;
GRANT SELECT ON biometric.reseal_progress TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.reseal_progress IS
'Where the next call of reseal() for a column goes on: in table member, at a block (from 0). again: this pass has sealed something already, so that another has to follow it. blocks_total, blocks_done: of this pass, with partitions and heirs; images_done: sealed anew since it was begun; images_skipped: in this pass. Kept by biometric_audit alone, and not dumped.';

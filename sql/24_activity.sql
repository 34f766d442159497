-- What the ledger's worker derives from its entries, a row or a few for each 256 of them.

CREATE TABLE biometric.activity (
	log_id pg_catalog.uuid NOT NULL,
	party pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	block pg_catalog.int8 NOT NULL,
	session_user_name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	entries pg_catalog.int4 NOT NULL,
	disclosures pg_catalog.int4 NOT NULL,
	first_at pg_catalog.timestamptz NOT NULL,
	last_at pg_catalog.timestamptz NOT NULL,
	PRIMARY KEY (log_id, party, block, session_user_name)
);
REVOKE ALL ON biometric.activity FROM PUBLIC;
COMMENT ON TABLE biometric.activity IS
'Which party was active in which part of a log: a row for each party, login and block of 256 entries (block n: those from 256 * n on) in which there are entries of that party''s sessions. party: "" for clients that belong to no party. entries: how many, session and statement entries not counted; disclosures: how many of them are of event disclosed or observed. first_at, last_at: the earliest and the latest time of these entries. Written together with the last entry of the block, and kept when its segment is detached. Derived from the entries, which alone are evidence.';

CREATE TABLE biometric.traced (
	log_id pg_catalog.uuid NOT NULL,
	block pg_catalog.int8 NOT NULL,
	stored pg_catalog.bytea NOT NULL,
	disclosed pg_catalog.bytea NOT NULL,
	PRIMARY KEY (log_id, block)
);
ALTER TABLE biometric.traced ALTER COLUMN stored SET STORAGE EXTERNAL;
ALTER TABLE biometric.traced ALTER COLUMN disclosed SET STORAGE EXTERNAL;
REVOKE ALL ON biometric.traced FROM PUBLIC;
COMMENT ON TABLE biometric.traced IS
'Which images were stored and disclosed in which part of a log: a row for each block of 256 entries (block n: those from 256 * n on) in which any were. stored: 70 bytes for each image that was stored with a digest: the entry''s place in the block (1 byte), whether it has a picture hash (1), key id (4), image id (16), first half of the digest (16), picture hash (32). disclosed: 5 bytes for each image that was disclosed: the entry''s place (1), the last bytes of the image id (4). Written together with the last entry of the block, and kept when its segment is detached. Derived from the entries, which alone are evidence.';

SELECT pg_catalog.pg_extension_config_dump('biometric.activity', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.traced', '');


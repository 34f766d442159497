-- Images that must be kept: legal holds.

CREATE TABLE biometric.hold (
	log_id pg_catalog.uuid NOT NULL,
	hold_id pg_catalog.int8 NOT NULL,
	relation pg_catalog.regclass,
	relation_name pg_catalog.text,
	column_name pg_catalog.name,
	predicate pg_catalog.text,
	reason pg_catalog.text NOT NULL,
	images pg_catalog.int8 NOT NULL,
	digest pg_catalog.bytea NOT NULL,
	placed_at pg_catalog.timestamptz NOT NULL,
	placed_by pg_catalog.text NOT NULL,
	released_at pg_catalog.timestamptz,
	released_by pg_catalog.text,
	release_reason pg_catalog.text,
	PRIMARY KEY (log_id, hold_id),
	CHECK ((released_at IS NULL) OPERATOR(pg_catalog.=) (released_by IS NULL))
);
REVOKE ALL ON biometric.hold FROM PUBLIC;
GRANT SELECT ON biometric.hold TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.hold IS
	'Legal holds, a row each, released ones too: what legal_hold() was called with, how many images it found then, and the SHA-256 of their ids (16 bytes each, ascending). Rows of any log count, also those that a dump brought. Kept by legal_hold() and release_hold() alone.';
COMMENT ON COLUMN biometric.hold.relation_name IS
	'what the relation was called when the hold was placed; NULL, as relation, for a hold by image ids';
COMMENT ON COLUMN biometric.hold.released_at IS
	'when the last of its images was released; NULL: some are still held';

CREATE TABLE biometric.held (
	log_id pg_catalog.uuid NOT NULL,
	hold_id pg_catalog.int8 NOT NULL,
	image_id pg_catalog.uuid NOT NULL,
	key_id pg_catalog.int8 NOT NULL,
	PRIMARY KEY (log_id, hold_id, image_id, key_id)
);
CREATE INDEX held_image_id_idx ON biometric.held (image_id);
CREATE INDEX held_key_id_idx ON biometric.held (key_id);
REVOKE ALL ON biometric.held FROM PUBLIC;
GRANT SELECT ON biometric.held TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.held IS
	'The images that are held now, under which hold, and the key that each is sealed under: a row goes when its image is released. Rows of any log count. Whoever is about to lose an image asks here (include/retention/hold.h), and waits meanwhile for a hold that is being placed. Kept by biometric_audit alone.';

-- What is held must be held after a restore, too: the rows count whatever log they are of.
SELECT pg_catalog.pg_extension_config_dump('biometric.hold', '');
SELECT pg_catalog.pg_extension_config_dump('biometric.held', '');

CREATE VIEW biometric.hold_state AS
	SELECT h.hold_id,
		CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_class AS c
			WHERE c.oid OPERATOR(pg_catalog.=) h.relation::pg_catalog.oid)
			THEN h.relation::pg_catalog.text ELSE h.relation_name END AS relation,
		h.column_name, h.predicate, h.reason, h.images,
		(SELECT pg_catalog.count(DISTINCT d.image_id) FROM ONLY biometric.held AS d
			WHERE d.log_id OPERATOR(pg_catalog.=) h.log_id
				AND d.hold_id OPERATOR(pg_catalog.=) h.hold_id) AS held,
		h.placed_at, h.placed_by, h.released_at, h.released_by, h.release_reason, h.log_id
	FROM ONLY biometric.hold AS h;
REVOKE ALL ON biometric.hold_state FROM PUBLIC;
GRANT SELECT ON biometric.hold_state TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.hold_state IS
	'Legal holds, placed and released: relation, column and predicate (NULL: a hold by image ids, or of all rows), images when it was placed, held now, who placed and released it, when and why. log_id: the log of the database that it was placed in.';

CREATE FUNCTION biometric.legal_hold(relation pg_catalog.regclass, column_name pg_catalog.name,
		predicate pg_catalog.text, reason pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_legal_hold_rows' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.legal_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.legal_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.legal_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) IS
	'Holds the images of a column, in a table with its partitions and heirs or in a materialized view, of the rows for which a predicate is true now (SQL over the row, as behind WHERE, at most 8000 bytes; NULL: all rows): until release_hold() none of them is replaced, erased, purged, truncated or dropped, nor its key shredded, whatever becomes of the row meanwhile. The predicate is run once, as the caller, in a read-only transaction; waits for transactions that are about to lose an image of any table, and keeps others from it until the end of its own. Returns the hold''s number. For custodians with SELECT on the relation. Errors: 42501 for others, and where row-level security hides rows from the caller; 42601 for a predicate that is more than a condition; 25006 for one that writes; 42704 when no image is found; 42809 and 42703 for what is no permanent table with such a column of images; 22023 without a reason; 25001 unless the isolation level is READ COMMITTED.';

CREATE FUNCTION biometric.legal_hold(image_ids pg_catalog.uuid[], reason pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_legal_hold_images' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.legal_hold(pg_catalog.uuid[], pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.legal_hold(pg_catalog.uuid[], pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.legal_hold(pg_catalog.uuid[], pg_catalog.text) IS
	'Holds images by their ids, as image_id() returns them: as legal_hold(relation, column_name, predicate, reason), wherever they are stored. Reads the header of each image in the database to find them. Returns the hold''s number. For custodians. Errors: 42501 for others; 42704 for an image that no permanent table or materialized view has; 22023 without a reason, for no ids and for NULL among them; 25001 unless the isolation level is READ COMMITTED.';

CREATE FUNCTION biometric.release_hold(hold_id pg_catalog.int8, reason pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_release_hold' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.release_hold(pg_catalog.int8, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.release_hold(pg_catalog.int8, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.release_hold(pg_catalog.int8, pg_catalog.text) IS
	'Releases what a hold still holds; images that another hold holds, too, stay held by that. Returns the number of images; NULL when it waits for another custodian. For custodians. Errors: 42501 for others; 42704 for a hold that there is not, or that was released; 42P08 when holds of several databases have that number; 22023 without a reason; 25001 unless the isolation level is READ COMMITTED.';

CREATE FUNCTION biometric.release_hold(image_ids pg_catalog.uuid[], reason pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_release_hold_images' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.release_hold(pg_catalog.uuid[], pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.release_hold(pg_catalog.uuid[], pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.release_hold(pg_catalog.uuid[], pg_catalog.text) IS
	'Releases images by their ids from all holds that they are under; a hold that holds nothing any more is released. Returns the number of images that were held; NULL when it waits for another custodian. For custodians. Errors: 42501 for others; 42704 when none of them is held; 22023 without a reason or ids; 25001 unless the isolation level is READ COMMITTED.';

CREATE FUNCTION biometric.release_hold(relation pg_catalog.regclass, column_name pg_catalog.name,
		predicate pg_catalog.text, reason pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_release_hold_rows' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.release_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.release_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.release_hold(pg_catalog.regclass, pg_catalog.name,
	pg_catalog.text, pg_catalog.text) IS
	'Releases the images of the rows for which a predicate is true now, found as legal_hold() finds them, from all holds that they are under. Returns the number of images that were held; NULL when it waits for another custodian, for whom the predicate is run again when he approves. For custodians with SELECT on the relation. Errors: as legal_hold(relation, column_name, predicate, reason); 42704 when none of them is held.';

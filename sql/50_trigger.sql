-- What the row triggers call that biometric_audit attaches to tables with images.

CREATE FUNCTION biometric.bind_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'biometric_bind_trigger' LANGUAGE C;
REVOKE ALL ON FUNCTION biometric.bind_trigger() FROM PUBLIC;
COMMENT ON FUNCTION biometric.bind_trigger() IS
	'Trigger, BEFORE INSERT OR UPDATE FOR EACH ROW, attached by biometric_audit itself: binds images to the column that they are stored in. An image that was given sealed from outside stays marked as imported unless whoever stores it may read all of the column that it claims to be from. Errors: 22P03 for a damaged image';

CREATE FUNCTION biometric.record_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'biometric_record_trigger' LANGUAGE C;
REVOKE ALL ON FUNCTION biometric.record_trigger() FROM PUBLIC;
COMMENT ON FUNCTION biometric.record_trigger() IS
	'Trigger, AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW, attached by biometric_audit itself: puts stored, replaced and erased images on record, in the ledger before the transaction commits. Errors: 55000 when a trigger has put in an image after it was bound';

CREATE FUNCTION biometric.truncate_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'biometric_truncate_trigger' LANGUAGE C;
REVOKE ALL ON FUNCTION biometric.truncate_trigger() FROM PUBLIC;
COMMENT ON FUNCTION biometric.truncate_trigger() IS
	'Trigger, BEFORE TRUNCATE, attached by biometric_audit itself: puts on record how many images of each column are about to be lost';

CREATE FUNCTION biometric.attach_triggers(relation pg_catalog.regclass DEFAULT NULL) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'biometric_attach_triggers' LANGUAGE C;
REVOKE ALL ON FUNCTION biometric.attach_triggers(pg_catalog.regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.attach_triggers(pg_catalog.regclass) TO PUBLIC;
COMMENT ON FUNCTION biometric.attach_triggers(pg_catalog.regclass) IS
	'Attaches the triggers that bind and record images to a table with its partitions and heirs, or with NULL to all tables of the database, where they are missing because a table was made while the library was not loaded; its images are bound and recorded as stored. Returns the number of tables that got them. For the table''s owner, superusers and custodians. Errors: 42501 for others, 42809 for what is no table, 0A000 for columns that cannot be guarded';

CREATE FUNCTION biometric.adopt(relation pg_catalog.regclass, column_name pg_catalog.name) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_adopt' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION biometric.adopt(pg_catalog.regclass, pg_catalog.name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.adopt(pg_catalog.regclass, pg_catalog.name) TO biometric_custodian;
COMMENT ON FUNCTION biometric.adopt(pg_catalog.regclass, pg_catalog.name) IS
	'Makes the images of a column of a table, its partitions and heirs that column''s own: those that are marked as imported, or bound elsewhere, are bound to it as their first home, and recorded as stored by operation adopt. Images whose key is not at hand stay as they are. Returns the number of images adopted. For custodians. Errors: 42501 for others, 42703 without such a column, 42809 if it holds no images or is a materialized view or otherwise no table, 22P03 for a damaged image';

-- Tables that were made before these functions were.
SELECT biometric.attach_triggers();

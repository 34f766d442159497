-- What keeps everybody from writing to the tables of the ledger and the policy.

CREATE FUNCTION biometric.guard_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'biometric_guard_trigger' LANGUAGE C;
REVOKE ALL ON FUNCTION biometric.guard_trigger() FROM PUBLIC;
COMMENT ON FUNCTION biometric.guard_trigger() IS
	'Trigger: raises 42501 for INSERT, UPDATE, DELETE and TRUNCATE on the tables of biometric_audit unless its own functions run them, or a dump brings rows of another database''s log, which become history; in an apply worker of logical replication it passes rows over.';

DO $guard$
DECLARE
	guarded pg_catalog.text;
BEGIN
	FOR guarded IN
		SELECT c.oid::pg_catalog.regclass::pg_catalog.text
		FROM pg_catalog.pg_class AS c
		WHERE c.relnamespace = 'biometric'::pg_catalog.regnamespace
			AND c.relkind = 'r'
		ORDER BY 1
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
			'FOR EACH STATEMENT EXECUTE FUNCTION biometric.guard_trigger()', guarded);
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON %s '
			'FOR EACH ROW EXECUTE FUNCTION biometric.guard_trigger()', guarded);
		EXECUTE pg_catalog.format(
			'ALTER TABLE %s ENABLE ALWAYS TRIGGER guard, ENABLE ALWAYS TRIGGER guard_row', guarded);
		-- what a restored row has become when all triggers before the insertion have run
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER guard_stored AFTER INSERT ON %s '
			'FOR EACH ROW EXECUTE FUNCTION biometric.guard_trigger()', guarded);
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER guard_stored', guarded);
	END LOOP;
END
$guard$;

-- The schema and the two roles.

-- CREATE EXTENSION takes a schema of this name that is there already. Whoever
-- owns it, or may create in it, could put functions and operators in the way of
-- ours (CVE-2022-2625, CVE-2018-1058): so it must be nobody less than a
-- superuser, and what it holds must be theirs too.
DO $body$
DECLARE
	schema_oid constant pg_catalog.oid := 'biometric'::pg_catalog.regnamespace::pg_catalog.oid;
	trespasser pg_catalog.text;
BEGIN
	SELECT o.rolname INTO trespasser
	  FROM pg_catalog.pg_namespace AS n
	  JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
	 WHERE n.oid OPERATOR(pg_catalog.=) schema_oid
	   AND NOT o.rolsuper
	   AND o.rolname OPERATOR(pg_catalog.<>) CURRENT_USER;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "biometric" belongs to role "%"', trespasser
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'It must belong to the role that creates the extension, or to a '
				           'superuser.',
				  HINT = 'Drop the schema, or give it away with ALTER SCHEMA biometric OWNER TO, '
				         'after looking at what is in it.';
	END IF;

	SELECT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE o.rolname END
	  INTO trespasser
	  FROM pg_catalog.pg_namespace AS n
	 CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
	  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) a.grantee
	 WHERE n.oid OPERATOR(pg_catalog.=) schema_oid
	   AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
	   AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
	   AND NOT coalesce(o.rolsuper, false)
	 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION '"%" may create objects in schema "biometric"', trespasser
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Objects in this schema are trusted by the extension''s functions.',
				  HINT = 'Revoke CREATE on the schema, and look at what is in it.';
	END IF;

	SELECT x.name INTO trespasser
	  FROM (SELECT p.proname, p.proowner FROM pg_catalog.pg_proc AS p
			 WHERE p.pronamespace OPERATOR(pg_catalog.=) schema_oid
			 UNION ALL
			SELECT t.typname, t.typowner FROM pg_catalog.pg_type AS t
			 WHERE t.typnamespace OPERATOR(pg_catalog.=) schema_oid
			 UNION ALL
			SELECT c.relname, c.relowner FROM pg_catalog.pg_class AS c
			 WHERE c.relnamespace OPERATOR(pg_catalog.=) schema_oid
			 UNION ALL
			SELECT r.oprname, r.oprowner FROM pg_catalog.pg_operator AS r
			 WHERE r.oprnamespace OPERATOR(pg_catalog.=) schema_oid) AS x(name, owner)
	  JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) x.owner
	 WHERE NOT o.rolsuper
	   AND o.rolname OPERATOR(pg_catalog.<>) CURRENT_USER
	 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "biometric" already holds "%", which belongs to somebody else', trespasser
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Objects in this schema are trusted by the extension''s functions.',
				  HINT = 'Move or drop what others have put into the schema.';
	END IF;
END
$body$;

REVOKE ALL ON SCHEMA biometric FROM PUBLIC;
GRANT USAGE ON SCHEMA biometric TO PUBLIC;
COMMENT ON SCHEMA biometric IS
	'biometric_audit: sealed image types, who may receive them, and the ledger of every disclosure';

-- Roles belong to the cluster: the second database finds those of the first,
-- and dropping the extension in one must not take them from the others.
DO $body$
DECLARE
	wanted pg_catalog.name;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['biometric_custodian', 'biometric_auditor']::pg_catalog.name[]
	LOOP
		BEGIN
			IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
							WHERE r.rolname OPERATOR(pg_catalog.=) wanted) THEN
				EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
				EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', wanted,
					CASE wanted WHEN 'biometric_custodian'
						 THEN 'biometric_audit: members set policy, who may receive which images'
						 ELSE 'biometric_audit: members read the ledger' END);
			END IF;
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL; -- created meanwhile for another database
		END;
	END LOOP;
END
$body$;

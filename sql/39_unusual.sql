-- Who gets far more images than they used to.

CREATE FUNCTION biometric.activity_by_hour(party pg_catalog.text, during pg_catalog.tstzrange,
		OUT hour pg_catalog.timestamptz, OUT login pg_catalog.text,
		OUT disclosures pg_catalog.int8, OUT refusals pg_catalog.int8)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_activity_by_hour' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.activity_by_hour(pg_catalog.text, pg_catalog.tstzrange)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.activity_by_hour(pg_catalog.text, pg_catalog.tstzrange)
	TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.activity_by_hour(pg_catalog.text, pg_catalog.tstzrange) IS
	'How much a party ('''': clients that belong to none) got in each hour of a period: a row for each hour (its beginning, in UTC) and login in which there was anything; disclosures: images disclosed or observed; refusals: statements and images refused. Exact, from the ledger, and quick, from biometric.activity, where whole blocks of entries lie within one hour. A WARNING when that is no longer possible because entries were detached. Errors: 22023 for a period that is NULL or empty.';

CREATE FUNCTION biometric.unusual_activity_at(at pg_catalog.timestamptz,
		OUT party pg_catalog.text, OUT login pg_catalog.text, OUT process pg_catalog.int4,
		OUT session_start pg_catalog.timestamptz, OUT hour pg_catalog.timestamptz,
		OUT disclosures pg_catalog.int8, OUT usual pg_catalog.float8, OUT spread pg_catalog.float8,
		OUT highest pg_catalog.int8, OUT days pg_catalog.int4, OUT times_usual pg_catalog.float8,
		OUT why pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_unusual_activity' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.unusual_activity_at(pg_catalog.timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.unusual_activity_at(pg_catalog.timestamptz)
	TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.unusual_activity_at(pg_catalog.timestamptz) IS
	'What view biometric.unusual_activity says, or would have said, at a time: what happened after it does not count. Error 22023 for NULL and for infinity.';

CREATE VIEW biometric.unusual_activity AS
SELECT u.party, u.login, u.process, u.session_start, u.hour, u.disclosures, u.usual, u.spread,
	u.highest, u.days, u.times_usual, u.why
FROM biometric.unusual_activity_at(pg_catalog.now()) AS u
ORDER BY u.party, u.login NULLS FIRST, u.process NULLS FIRST, u.hour;
REVOKE ALL ON biometric.unusual_activity FROM PUBLIC;
GRANT SELECT ON biometric.unusual_activity TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.unusual_activity IS
	'Who got far more images in the present hour, or the one before, than ever in their own past at that hour of day (UTC): parties (login NULL), their logins (process NULL), and single sessions (process, and when the ledger first knew of it in these hours), which are compared with the past of their login. disclosures: of that hour; usual, spread, highest: mean, standard deviation and largest figure of the same hour on the days before; days: how many days of past there are, biometric_audit.activity_days at most, those without any images included; times_usual: disclosures divided by usual; why: the figures in a sentence. Listed is what is above biometric_audit.activity_floor, and above usual + 3 * spread, and above twice highest; without a day of past whatever is above the floor.';

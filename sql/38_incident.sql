-- Incidents: whom one concerns, who has been told, and until when everybody must be.

CREATE TABLE biometric.incident (
	id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	party pg_catalog.text NOT NULL REFERENCES biometric.party (name),
	during pg_catalog.tstzrange NOT NULL,
	title pg_catalog.text NOT NULL,
	opened_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	opened_by pg_catalog.text NOT NULL,
	due_at pg_catalog.timestamptz NOT NULL CHECK (pg_catalog.isfinite(due_at)),
	closed_at pg_catalog.timestamptz,
	closed_by pg_catalog.text,
	close_reason pg_catalog.text,
	CHECK ((closed_at IS NULL) OPERATOR(pg_catalog.=) (close_reason IS NULL))
);
REVOKE ALL ON biometric.incident FROM PUBLIC;
GRANT SELECT ON biometric.incident TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.incident IS
	'Incidents: a party, and a period whose releases to it are in question. Changed by open_incident(), set_incident_due() and close_incident() only, each of which is an entry of the ledger.';
COMMENT ON COLUMN biometric.incident.due_at IS
	'until when everybody concerned must have been notified';
COMMENT ON COLUMN biometric.incident.closed_at IS
	'when it was closed; NULL: it is not';

CREATE TABLE biometric.notification (
	incident pg_catalog.int8 NOT NULL REFERENCES biometric.incident (id),
	person pg_catalog.bytea NOT NULL,
	relation pg_catalog.text NOT NULL,
	subject pg_catalog.jsonb NOT NULL,
	notified_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	notified_by pg_catalog.text NOT NULL,
	means pg_catalog.text NOT NULL,
	PRIMARY KEY (incident, person)
);
REVOKE ALL ON biometric.notification FROM PUBLIC;
GRANT SELECT ON biometric.notification TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.notification IS
	'Who has been told of an incident, when and by what means. Changed by mark_notified() only, each call of which is in the ledger.';
COMMENT ON COLUMN biometric.notification.person IS
	'SHA-256 of relation, a newline, and subject as text, in UTF-8 as entries have them: the same person has the same in every incident';

CREATE FUNCTION biometric.open_incident(party pg_catalog.text, during pg_catalog.tstzrange,
		title pg_catalog.text, notify_within pg_catalog.interval DEFAULT NULL)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_open_incident' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.open_incident(pg_catalog.text, pg_catalog.tstzrange,
	pg_catalog.text, pg_catalog.interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.open_incident(pg_catalog.text, pg_catalog.tstzrange,
	pg_catalog.text, pg_catalog.interval) TO biometric_custodian;
COMMENT ON FUNCTION biometric.open_incident(pg_catalog.text, pg_catalog.tstzrange,
	pg_catalog.text, pg_catalog.interval) IS
	'Opens an incident and returns its number: the party, the period whose releases to it are in question (its end may be open), what has happened, and how long from now everybody concerned must be notified (NULL: as biometric_audit.notification_period says). An entry of event incident, durable before the commit. Errors: 22023 for values that cannot be; 42704 for an unknown party; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.set_incident_due(incident pg_catalog.int8, due pg_catalog.timestamptz,
		reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_set_incident_due' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.set_incident_due(pg_catalog.int8, pg_catalog.timestamptz,
	pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.set_incident_due(pg_catalog.int8, pg_catalog.timestamptz,
	pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.set_incident_due(pg_catalog.int8, pg_catalog.timestamptz,
	pg_catalog.text) IS
	'Sets another deadline for an incident, for a reason that is kept. The entry has the old one, too. Errors: 42704 for an unknown incident; 55000 for one that is closed; 22023 for a deadline that is no point in time, or without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.notify_list(incident pg_catalog.int8, OUT relation pg_catalog.text,
		OUT subject pg_catalog.jsonb, OUT row_keys pg_catalog.jsonb, OUT kinds pg_catalog.text[],
		OUT images pg_catalog.int8, OUT first_released pg_catalog.timestamptz,
		OUT last_released pg_catalog.timestamptz, OUT notified_at pg_catalog.timestamptz,
		OUT means pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_notify_list' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.notify_list(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.notify_list(pg_catalog.int8)
	TO biometric_custodian, biometric_auditor;
COMMENT ON FUNCTION biometric.notify_list(pg_catalog.int8) IS
	'Whom an incident concerns, a row for each table and subject (relation: the table that was described, for all of its partitions and heirs; subject: the columns that describe_collection() named; the row''s key where none was recorded; NULL where not even the row is known): the keys of the rows that held the images when they were released, kinds and number of different images, when the first and the last was released, and when and how the person was told (NULL: not yet). Computed from the ledger each time. Those who were told but are not found any more have images 0. A WARNING when entries of the party, or about rows of these images, were detached: the list may then lack people. Errors: 42704 for an unknown incident; 22023 for NULL.';

CREATE FUNCTION biometric.mark_notified(incident pg_catalog.int8, subjects pg_catalog.jsonb[],
		means pg_catalog.text, relation pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_mark_notified' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.mark_notified(pg_catalog.int8, pg_catalog.jsonb[],
	pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.mark_notified(pg_catalog.int8, pg_catalog.jsonb[],
	pg_catalog.text, pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.mark_notified(pg_catalog.int8, pg_catalog.jsonb[], pg_catalog.text,
	pg_catalog.text) IS
	'Puts on record that people were told of an incident: subjects as notify_list() has them, by what means, and in which table (NULL: in each that has the subject). Returns how many table and subject pairs were marked newly: who was marked before is not counted, and the first time stays. Errors: 22023 for a subject that is not on the list (unless entries were detached and the table is given), for NULL and without means; 42704 for an unknown incident; 55000 for one that is closed; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.close_incident(incident pg_catalog.int8, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_close_incident' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.close_incident(pg_catalog.int8, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.close_incident(pg_catalog.int8, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.close_incident(pg_catalog.int8, pg_catalog.text) IS
	'Closes an incident, for a reason that is kept; with a NOTICE when people are not notified, whose number the entry has. Nothing changes a closed incident. Errors: 42704 for an unknown incident; 55000 for one that is closed already; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE VIEW biometric.incident_state AS
SELECT i.id, i.party, i.title, i.during,
	CASE WHEN i.closed_at IS NOT NULL THEN 'closed'
		WHEN n.people OPERATOR(pg_catalog.>) 0 AND n.people OPERATOR(pg_catalog.=) n.notified
			THEN 'notified'
		WHEN i.due_at OPERATOR(pg_catalog.<=) pg_catalog.now() THEN 'overdue'
		ELSE 'open' END AS state,
	i.opened_at, i.opened_by, i.due_at, n.people, n.notified, i.closed_at
FROM ONLY biometric.incident AS i
	CROSS JOIN LATERAL (
		SELECT pg_catalog.count(l.subject) AS people, pg_catalog.count(l.notified_at) AS notified
		FROM biometric.notify_list(i.id) AS l) AS n;
REVOKE ALL ON biometric.incident_state FROM PUBLIC;
GRANT SELECT ON biometric.incident_state TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.incident_state IS
	'The incidents. state: open, overdue (the deadline has passed and somebody has not been told), notified (everybody has) or closed. people, notified: how many notify_list() has, and how many of them have been told. It computes that list once for each row that it returns, which takes as long as affected() for that party and period: ask for one incident (WHERE id = ...), or read biometric.incident, which costs nothing.';

-- Changes of the policy that two persons make together.

CREATE TABLE biometric.proposed (
	id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	function pg_catalog.text NOT NULL,
	types pg_catalog.regtype[] NOT NULL,
	arguments pg_catalog.text[] NOT NULL,
	change pg_catalog.jsonb NOT NULL,
	proposed_by pg_catalog.text NOT NULL,
	proposed_login pg_catalog.oid NOT NULL,
	proposed_identity pg_catalog.text,
	proposed_role pg_catalog.text NOT NULL,
	proposed_at pg_catalog.timestamptz NOT NULL,
	expires_at pg_catalog.timestamptz NOT NULL,
	decision pg_catalog.text,
	decided_by pg_catalog.text,
	decided_role pg_catalog.text,
	decided_at pg_catalog.timestamptz,
	reason pg_catalog.text,
	CHECK (decision OPERATOR(pg_catalog.=) ANY (ARRAY['approved', 'rejected'])),
	CHECK ((decision IS NULL) OPERATOR(pg_catalog.=) (decided_by IS NULL)),
	CHECK ((decision IS NULL) OPERATOR(pg_catalog.=) (decided_at IS NULL))
);
REVOKE ALL ON biometric.proposed FROM PUBLIC;
GRANT SELECT ON biometric.proposed TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.proposed IS
	'The proposals behind view biometric.proposal: which function of biometric_audit is called with which arguments (relations by OID) once another custodian approves. Changed by the functions that propose, approve() and reject() only.';
COMMENT ON COLUMN biometric.proposed.proposed_by IS
	'the login that the proposer was authenticated as, whatever role was set since';
COMMENT ON COLUMN biometric.proposed.proposed_identity IS
	'what the server authenticated: the name in a certificate, say; NULL: nothing, as with trust';

CREATE TABLE biometric.two_person (
	switched_on pg_catalog.bool NOT NULL,
	recorded_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
);
REVOKE ALL ON biometric.two_person FROM PUBLIC;
GRANT SELECT ON biometric.two_person TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.two_person IS
	'What biometric_audit.two_person was when that was last put on record, one row; none: off, as at first. Kept by the ledger''s worker alone.';

CREATE VIEW biometric.proposal AS
	SELECT p.id,
		coalesce(p.decision, CASE WHEN p.expires_at OPERATOR(pg_catalog.<=)
			pg_catalog.clock_timestamp() THEN 'expired' ELSE 'open' END) AS state,
		p.change, p.proposed_by, p.proposed_role, p.proposed_at, p.expires_at,
		p.decided_by, p.decided_role, p.decided_at, p.reason
	FROM ONLY biometric.proposed AS p;
REVOKE ALL ON biometric.proposal FROM PUBLIC;
GRANT SELECT ON biometric.proposal TO biometric_custodian, biometric_auditor;
COMMENT ON VIEW biometric.proposal IS
	'Changes that wait, or waited, for another custodian: state open, approved, rejected or expired; change as its entry would say it; the logins that proposed and decided, and the roles that were set then.';

CREATE FUNCTION biometric.approve(proposal_id pg_catalog.int8)
	RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'biometric_approve' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.approve(pg_catalog.int8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.approve(pg_catalog.int8) TO biometric_custodian;
COMMENT ON FUNCTION biometric.approve(pg_catalog.int8) IS
	'Makes a proposed change, under the same checks as if it were called now, and returns it as recorded, with proposal, proposed_by and approved_by. Errors: 42501 for whoever proposed it, by login, role or authenticated identity, whatever role is set, and unless caller and login are custodians; 42704 for an unknown proposal; 55000 for one that is not open, or whose change would no longer be what was proposed; those of the change, after which the proposal stays open.';

CREATE FUNCTION biometric.reject(proposal_id pg_catalog.int8, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_reject' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.reject(pg_catalog.int8, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.reject(pg_catalog.int8, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.reject(pg_catalog.int8, pg_catalog.text) IS
	'Closes a proposal for a reason that is kept; the proposer withdraws it so. Errors: 42501 unless caller and login are custodians; 42704 for an unknown proposal; 55000 for one that is not open; 22023 without a reason.';

-- Who may receive what: parties, their networks, and permits.

CREATE TABLE biometric.party (
	name pg_catalog.text PRIMARY KEY,
	title pg_catalog.text,
	contract pg_catalog.tstzrange,
	quarantined_at pg_catalog.timestamptz,
	quarantine_reason pg_catalog.text,
	registered_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	CHECK (name OPERATOR(pg_catalog.<>) ''),
	CHECK ((quarantined_at IS NULL) OPERATOR(pg_catalog.=) (quarantine_reason IS NULL))
);
REVOKE ALL ON biometric.party FROM PUBLIC;
GRANT SELECT ON biometric.party TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.party IS
	'Organisations that images may be released to. Changed by register_party(), quarantine() and reinstate() only.';
COMMENT ON COLUMN biometric.party.contract IS
	'when the party may receive images; NULL: without limit';
COMMENT ON COLUMN biometric.party.quarantined_at IS
	'since when nothing is released to the party; NULL: not in quarantine';

CREATE TABLE biometric.network (
	id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	network pg_catalog.cidr,
	party pg_catalog.text NOT NULL REFERENCES biometric.party (name),
	registered_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	unregistered_at pg_catalog.timestamptz,
	unregistered_by pg_catalog.text,
	unregister_reason pg_catalog.text
);
CREATE UNIQUE INDEX network_registered ON biometric.network (network)
	NULLS NOT DISTINCT WHERE unregistered_at IS NULL;
REVOKE ALL ON biometric.network FROM PUBLIC;
GRANT SELECT ON biometric.network TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.network IS
	'Networks and the parties they belong to, with those given up. Changed by register_network(), register_local(), unregister_network() and unregister_local() only.';
COMMENT ON COLUMN biometric.network.network IS
	'the addresses; NULL: unix sockets';
COMMENT ON COLUMN biometric.network.unregistered_at IS
	'when it was given up; NULL: it is in force';

CREATE TABLE biometric.permit (
	id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	party pg_catalog.text NOT NULL REFERENCES biometric.party (name),
	kinds pg_catalog.text[] NOT NULL,
	delivery pg_catalog.text NOT NULL,
	purposes pg_catalog.text[],
	relation pg_catalog.regclass,
	valid pg_catalog.tstzrange,
	require_tls pg_catalog.bool NOT NULL DEFAULT false,
	quota pg_catalog.int8,
	quota_window pg_catalog.interval,
	mark pg_catalog.bool NOT NULL DEFAULT false,
	granted_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	granted_by pg_catalog.text NOT NULL,
	revoked_at pg_catalog.timestamptz,
	revoked_by pg_catalog.text,
	revoked_reason pg_catalog.text,
	CHECK (pg_catalog.cardinality(kinds) OPERATOR(pg_catalog.>) 0),
	CHECK (delivery OPERATOR(pg_catalog.=) ANY (ARRAY['open', 'observe', 'sealed', 'refuse'])),
	CHECK (quota OPERATOR(pg_catalog.>) 0),
	CHECK ((quota IS NULL) OPERATOR(pg_catalog.=) (quota_window IS NULL)),
	CHECK ((revoked_at IS NULL) OPERATOR(pg_catalog.=) (revoked_reason IS NULL))
);
REVOKE ALL ON biometric.permit FROM PUBLIC;
GRANT SELECT ON biometric.permit TO biometric_custodian, biometric_auditor;
COMMENT ON TABLE biometric.permit IS
	'What parties may receive, with what was revoked. Changed by authorize(), set_quota() and revoke() only.';
COMMENT ON COLUMN biometric.permit.delivery IS
	'open, observe (opened without a purpose being demanded, recorded as observed), sealed or refuse';
COMMENT ON COLUMN biometric.permit.purposes IS
	'the purposes that a session must have declared one of; NULL: any, empty: none';
COMMENT ON COLUMN biometric.permit.relation IS
	'the table, with its partitions and descendants; NULL: every table';
COMMENT ON COLUMN biometric.permit.valid IS
	'when the permit holds; NULL: without limit';
COMMENT ON COLUMN biometric.permit.quota IS
	'how many images are released by the permit within any quota_window; NULL: as many as are asked for';
COMMENT ON COLUMN biometric.permit.quota_window IS
	'1 second to 366 days; NULL as quota is';
COMMENT ON COLUMN biometric.permit.mark IS
	'whether released JPEG and PNG files carry a mark that names their disclosure';
COMMENT ON COLUMN biometric.permit.revoked_at IS
	'when it was revoked; NULL: it is in force';

CREATE FUNCTION biometric.register_party(party pg_catalog.text, title pg_catalog.text,
		contract pg_catalog.tstzrange)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_register_party' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.register_party(pg_catalog.text, pg_catalog.text,
	pg_catalog.tstzrange) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.register_party(pg_catalog.text, pg_catalog.text,
	pg_catalog.tstzrange) TO biometric_custodian;
COMMENT ON FUNCTION biometric.register_party(pg_catalog.text, pg_catalog.text,
	pg_catalog.tstzrange) IS
	'Registers a party (name of at most 200 bytes, title, period of its contract, NULL: without limit); renews title and contract of one that is registered already, with a NOTICE. With biometric_audit.two_person on, a contract that reaches beyond the old one becomes a proposal. Errors: 22023 for a name or period that cannot be; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.register_network(network pg_catalog.cidr, party pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_register_network' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.register_network(pg_catalog.cidr, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.register_network(pg_catalog.cidr, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.register_network(pg_catalog.cidr, pg_catalog.text) IS
	'Registers a network (IPv4 or IPv6) for a party: clients belong to the party of the longest network that contains their address. A client on the server''s own host matches only a /32 or /128 that is exactly its address; registering one warns of what it opens. With biometric_audit.two_person on, becomes a proposal. Errors: 42704 for an unknown party; 42710 when the network is registered already; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.register_local(party pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_register_local' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.register_local(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.register_local(pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.register_local(pg_catalog.text) IS
	'Registers the unix sockets for a party, with a WARNING that says what it opens. With biometric_audit.two_person on, becomes a proposal. Errors: 42704 for an unknown party; 42710 when they are registered already; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.unregister_network(network pg_catalog.cidr, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_unregister_network' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.unregister_network(pg_catalog.cidr, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.unregister_network(pg_catalog.cidr, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.unregister_network(pg_catalog.cidr, pg_catalog.text) IS
	'Gives up a network, as it was registered, for a reason that is kept. With biometric_audit.two_person on, becomes a proposal when its clients would then be of a wider network of another party. Errors: 42704 when it is not registered; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.unregister_local(reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_unregister_local' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.unregister_local(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.unregister_local(pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.unregister_local(pg_catalog.text) IS
	'Gives up the registration of the unix sockets, for a reason that is kept. Errors: 42704 when they are not registered; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.authorize(party pg_catalog.text, kinds pg_catalog.text[],
		delivery pg_catalog.text, purposes pg_catalog.text[] DEFAULT NULL,
		relation pg_catalog.regclass DEFAULT NULL, valid pg_catalog.tstzrange DEFAULT NULL,
		quota pg_catalog.int8 DEFAULT NULL, quota_window pg_catalog.interval DEFAULT NULL,
		require_tls pg_catalog.bool DEFAULT false, mark pg_catalog.bool DEFAULT false)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'biometric_authorize' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.authorize(pg_catalog.text, pg_catalog.text[], pg_catalog.text,
	pg_catalog.text[], pg_catalog.regclass, pg_catalog.tstzrange, pg_catalog.int8,
	pg_catalog.interval, pg_catalog.bool, pg_catalog.bool) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.authorize(pg_catalog.text, pg_catalog.text[], pg_catalog.text,
	pg_catalog.text[], pg_catalog.regclass, pg_catalog.tstzrange, pg_catalog.int8,
	pg_catalog.interval, pg_catalog.bool, pg_catalog.bool) TO biometric_custodian;
COMMENT ON FUNCTION biometric.authorize(pg_catalog.text, pg_catalog.text[], pg_catalog.text,
	pg_catalog.text[], pg_catalog.regclass, pg_catalog.tstzrange, pg_catalog.int8,
	pg_catalog.interval, pg_catalog.bool, pg_catalog.bool) IS
	'Grants a party a permit and returns its id (NULL when it waits for another custodian: biometric.proposal): kinds of image; delivery open, observe, sealed or refuse; purposes that must be declared (NULL: any, empty: none); the table, with what descends from it (NULL: every table); the period (NULL: without limit); how many images (1 and up) are released within any quota_window (1 second to 366 days, a day being 24 hours; both NULL: without limit); whether TLS is demanded; whether released JPEG and PNG files are marked. Quota and mark are for open and observe only. Errors: 22023 for values that cannot be; 42704 for an unknown party; 42809 for a relation that holds no images; 54000 when biometric_audit.max_quotas permits have a quota; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.set_quota(permit_id pg_catalog.int8, quota pg_catalog.int8,
		quota_window pg_catalog.interval, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_set_quota' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.set_quota(pg_catalog.int8, pg_catalog.int8, pg_catalog.interval,
	pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.set_quota(pg_catalog.int8, pg_catalog.int8,
	pg_catalog.interval, pg_catalog.text) TO biometric_custodian;
COMMENT ON FUNCTION biometric.set_quota(pg_catalog.int8, pg_catalog.int8, pg_catalog.interval,
	pg_catalog.text) IS
	'Gives a permit another quota, for a reason that is kept: images (1 and up) within any quota_window (1 second to 366 days); NULL, NULL: none. What the permit has released within that time counts, also for statements that are running. With biometric_audit.two_person on, becomes a proposal when the party is given more by it. Errors: 42704 for an unknown permit; 55000 for one that is revoked; 22023 for values that cannot be, without a reason, and for a permit of delivery sealed or refuse; 54000 when biometric_audit.max_quotas permits have a quota; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.revoke(permit_id pg_catalog.int8, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_revoke' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.revoke(pg_catalog.int8, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.revoke(pg_catalog.int8, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.revoke(pg_catalog.int8, pg_catalog.text) IS
	'Revokes a permit, for a reason that is kept; also for statements that are running. With biometric_audit.two_person on, becomes a proposal when the party''s other permits would then give it more. Errors: 42704 for an unknown permit; 55000 for one that is revoked already; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.quarantine(party pg_catalog.text, reason pg_catalog.text,
		end_sessions pg_catalog.bool DEFAULT false)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_quarantine' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.quarantine(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.quarantine(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.quarantine(pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
	'Cuts a party off at once, whatever its permits and biometric_audit.enforcement, for a reason that is kept; waits for no other change of the policy but one of the same party; a NOTICE when it is cut off already. end_sessions: when that is committed and in force, also ends its sessions in this database and its replication connections to the whole server, but for the asking one, and waits until they have gone (10 s at most, then a WARNING); otherwise a NOTICE says how many there are. Errors: 42704 for an unknown party; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.reinstate(party pg_catalog.text, reason pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'biometric_reinstate' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.reinstate(pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.reinstate(pg_catalog.text, pg_catalog.text)
	TO biometric_custodian;
COMMENT ON FUNCTION biometric.reinstate(pg_catalog.text, pg_catalog.text) IS
	'Lifts the quarantine of a party, for a reason that is kept. With biometric_audit.two_person on, becomes a proposal. Errors: 42704 for an unknown party; 55000 when it is not in quarantine; 22023 without a reason; 42501 unless the caller is a custodian.';

CREATE FUNCTION biometric.explain_access(relation pg_catalog.regclass DEFAULT NULL,
		OUT kind pg_catalog.text, OUT party pg_catalog.text, OUT network pg_catalog.text,
		OUT delivery pg_catalog.text, OUT reason pg_catalog.text, OUT permit pg_catalog.int8,
		OUT quota_left pg_catalog.int8, OUT detail pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'biometric_explain_access' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION biometric.explain_access(pg_catalog.regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.explain_access(pg_catalog.regclass) TO PUBLIC;
COMMENT ON FUNCTION biometric.explain_access(pg_catalog.regclass) IS
	'What this session would get now, a row for each kind of image: the party and network that the client belongs to, delivery, reason, the permit that decides, images left of a quota (NULL: no quota), and what to do. relation: the table to be read; NULL: a table that no permit names. Errors: 42809 for a relation that holds no images.';

-- Who may receive what: the management functions and explain_access(), seen
-- from a session on the unix socket. Clients of several networks are in tap/.
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(186);

CREATE ROLE policy_custodian LOGIN;
GRANT biometric_custodian TO policy_custodian;
CREATE ROLE policy_auditor LOGIN;
GRANT biometric_auditor TO policy_auditor;
CREATE ROLE policy_nobody LOGIN;
CREATE ROLE policy_superuser LOGIN SUPERUSER;

CREATE TABLE lane (id int);
CREATE TABLE lane_north () INHERITS (lane);
CREATE TABLE lane_north_1 () INHERITS (lane_north);
CREATE TABLE traveller (id int, face biometric.face_image);
CREATE VIEW lanes AS SELECT id FROM lane;

-- One row a question: delivery and reason for a kind.
CREATE FUNCTION said(kind text, relation regclass DEFAULT NULL) RETURNS text LANGUAGE sql AS
	$$ SELECT e.delivery || ' ' || e.reason FROM biometric.explain_access(relation) AS e
		WHERE e.kind = said.kind $$;
CREATE FUNCTION permit_of(kind text, relation regclass DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
	$$ SELECT e.permit FROM biometric.explain_access(relation) AS e WHERE e.kind = permit_of.kind $$;
-- The last change in the ledger, and how many there are.
CREATE FUNCTION last_change() RETURNS jsonb LANGUAGE sql AS
	$$ SELECT detail FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 1 $$;
CREATE FUNCTION changes() RETURNS bigint LANGUAGE sql AS
	$$ SELECT count(*) FROM biometric.ledger WHERE event = 'policy_changed' $$;

-- Deny by default
SELECT is((SELECT count(*)::int FROM biometric.explain_access()), 5,
	'explain_access() has a row for each kind');
SELECT is(said('face'), 'refuse unregistered_network',
	'with nothing registered a superuser on the unix socket is refused');
SELECT ok((SELECT bool_and(party IS NULL AND network IS NULL AND permit IS NULL AND quota_left IS NULL)
		FROM biometric.explain_access()), 'and belongs to no party');
SELECT matches((SELECT detail FROM biometric.explain_access() LIMIT 1), 'register_local',
	'and is told which function would change that');
SELECT throws_like('SELECT face FROM traveller', 'face images of public.traveller are refused to %',
	'a refusal names kind, table and client');
SELECT is((SELECT concat_ws(' ', kind, relation) FROM biometric.refusal ORDER BY seq DESC LIMIT 1),
	'face public.traveller', 'and is in the ledger');

-- Who may change the policy
SELECT throws_ok(format('SET ROLE %I; %s', role, call), '42501', NULL, role || ' may not call ' || call)
	FROM unnest(ARRAY['policy_nobody', 'policy_auditor', 'policy_superuser']) AS role,
		unnest(ARRAY[
			$$SELECT biometric.register_party('p', 'P', NULL)$$,
			$$SELECT biometric.register_network('192.0.2.0/24', 'p')$$,
			$$SELECT biometric.register_local('p')$$,
			$$SELECT biometric.unregister_network('192.0.2.0/24', 'test')$$,
			$$SELECT biometric.unregister_local('test')$$,
			$$SELECT biometric.authorize('p', '{face}', 'open')$$,
			$$SELECT biometric.revoke(1, 'test')$$,
			$$SELECT biometric.set_quota(1, 5, '1 day', 'test')$$,
			$$SELECT biometric.quarantine('p', 'test')$$,
			$$SELECT biometric.reinstate('p', 'test')$$]) AS call;
RESET ROLE;
SET ROLE policy_superuser;
SELECT throws_like($$SELECT biometric.register_party('p', 'P', NULL)$$,
	'role "policy_superuser" may not change the biometric_audit policy',
	'a superuser who is no custodian is told so');
SET ROLE policy_custodian;
SELECT lives_ok($$SELECT biometric.register_party('agency', 'The Agency', '[2019-01-01,)')$$,
	'a custodian who is no superuser registers a party');
SELECT is((SELECT title FROM biometric.party WHERE name = 'agency'), 'The Agency',
	'and reads the policy');
SELECT is(current_user::text, 'policy_custodian', 'and is afterwards who they were');
SELECT throws_ok(format('%s', statement), '42501', NULL, 'a custodian may not ' || statement)
	FROM unnest(ARRAY[
		'INSERT INTO biometric.party (name) VALUES (''x'')',
		'UPDATE biometric.party SET contract = NULL',
		'DELETE FROM biometric.network',
		'TRUNCATE biometric.permit']) AS statement;
RESET ROLE;
SELECT throws_ok(format('%s', statement), '42501', NULL, 'a superuser may not ' || statement)
	FROM unnest(ARRAY[
		'INSERT INTO biometric.party (name) VALUES (''x'')',
		'UPDATE biometric.party SET contract = NULL',
		'DELETE FROM biometric.network',
		'TRUNCATE biometric.permit']) AS statement;
SET ROLE policy_auditor;
SELECT lives_ok('SELECT FROM biometric.party, biometric.network, biometric.permit',
	'an auditor reads the policy');
SET ROLE policy_nobody;
SELECT throws_ok('SELECT FROM biometric.permit', '42501', NULL, 'nobody else does');
SELECT is(said('face'), 'refuse unregistered_network', 'but everybody may ask explain_access()');
RESET ROLE;

-- Entries
SELECT is(last_change() - 'contract', '{"action": "register_party", "party": "agency", "title": "The Agency"}',
	'registering a party is an entry');
SELECT is((SELECT (biometric.decode_entry(entry)).current_user_name FROM biometric.entry
		WHERE (biometric.decode_entry(entry)).event = 'policy_changed' ORDER BY seq DESC LIMIT 1),
	'policy_custodian', 'that names who did it');
SELECT changes() AS before \gset
BEGIN;
SELECT biometric.register_party('ghost', 'Ghost', NULL);
ROLLBACK;
SELECT is(changes(), :before::bigint, 'a change that is rolled back leaves no entry');
SELECT throws_ok($$SELECT biometric.quarantine('ghost', 'test')$$, '42704', NULL, 'and no party');
BEGIN;
SELECT biometric.register_party('second', 'Second', NULL);
SAVEPOINT here;
SELECT biometric.register_party('ghost', 'Ghost', NULL);
ROLLBACK TO here;
SAVEPOINT there;
SELECT biometric.register_party('third', 'Third', NULL);
RELEASE there;
COMMIT;
SELECT is((SELECT string_agg(detail ->> 'party', ' ' ORDER BY seq) FROM (
		SELECT seq, detail FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 2) AS two),
	'second third', 'a rolled back savepoint leaves no entry, a released one does');
DO $$
BEGIN
	PERFORM biometric.register_party('ghost', 'Ghost', NULL);
	RAISE EXCEPTION 'out';
EXCEPTION WHEN raise_exception THEN
	NULL;
END $$;
SELECT is(last_change() ->> 'party', 'third', 'neither does an exception that was caught');
\set ON_ERROR_STOP off
BEGIN;
SELECT biometric.register_party('ghost', 'Ghost', NULL);
PREPARE TRANSACTION 'policy';
SELECT is(:'SQLSTATE'::text, '0A000', 'a change cannot be prepared');
\set ON_ERROR_STOP on
SELECT throws_ok($$SELECT biometric.register_party(' ', 'P', NULL)$$, '22023', NULL,
	'a party needs a name');
SET default_transaction_read_only = on;
SELECT throws_ok($$SELECT biometric.register_party('p', 'P', NULL)$$, '25006', NULL,
	'a READ ONLY transaction changes no policy');
RESET default_transaction_read_only;

-- Networks
SELECT throws_ok(call, code, NULL, call || ' is refused')
	FROM (VALUES
		($$SELECT biometric.register_network('192.0.2.0/24', 'unknown')$$, '42704'),
		($$SELECT biometric.register_network('192.0.2.1/24', 'agency')$$, '22P02'),
		($$SELECT biometric.register_network(NULL, 'agency')$$, '22023'),
		($$SELECT biometric.register_network('192.0.2.0/24', NULL)$$, '22023'),
		($$SELECT biometric.register_local('unknown')$$, '42704'),
		($$SELECT biometric.unregister_network('198.51.100.0/24', 'test')$$, '42704'),
		($$SELECT biometric.unregister_local('test')$$, '42704'),
		($$SELECT biometric.register_party(NULL, 'P', NULL)$$, '22023'),
		($$SELECT biometric.register_party(repeat('x', 201), 'P', NULL)$$, '22023'),
		($$SELECT biometric.register_party('p', repeat('x', 1001), NULL)$$, '22023'),
		($$SELECT biometric.register_party(E'a\nb', 'P', NULL)$$, '22023'),
		($$SELECT biometric.register_party('p', 'P', 'empty')$$, '22023')) AS v(call, code);
SELECT lives_ok($$SELECT biometric.register_network('2001:db8::/32', 'agency')$$, 'IPv6 is registered');
SELECT lives_ok($$SELECT biometric.register_network('::ffff:192.0.2.0/120', 'agency')$$,
	'an IPv4-mapped network is registered');
SELECT ok(EXISTS (SELECT FROM biometric.network WHERE network = '192.0.2.0/24'),
	'as the IPv4 network it carries');
SELECT throws_ok($$SELECT biometric.register_network('192.0.2.0/24', 'second')$$, '42710', NULL,
	'a network belongs to one party at a time');
SELECT throws_ok($$SELECT biometric.unregister_network('192.0.2.0/24', ' ')$$, '22023', NULL,
	'a network is given up for a reason');
SELECT lives_ok($$SELECT biometric.unregister_network('192.0.2.0/24', 'moved')$$, 'a network is given up');
SELECT lives_ok($$SELECT biometric.register_network('192.0.2.0/24', 'second')$$,
	'and then registered for another party');
SELECT is((SELECT count(*)::int FROM biometric.network WHERE network = '192.0.2.0/24'), 2,
	'and the table keeps both');
SET client_min_messages = error;
SELECT biometric.register_local('agency');
RESET client_min_messages;
SET client_min_messages = warning;
SELECT is((SELECT party || ' ' || network FROM biometric.explain_access() LIMIT 1), 'agency local',
	'register_local() makes the unix socket the party''s');
SELECT is(last_change(), '{"action": "register_local", "party": "agency"}', 'which is an entry');
SELECT throws_ok($$SELECT biometric.register_local('second')$$, '42710', NULL, 'it is registered once');

-- Permits: what cannot be granted
SELECT throws_ok(format('SELECT biometric.authorize(%s)', arguments), code, NULL,
		format('authorize(%s) is refused', arguments))
	FROM (VALUES
		($$'unknown', '{face}', 'open'$$, '42704'),
		($$NULL, '{face}', 'open'$$, '22023'),
		($$'agency', NULL, 'open'$$, '22023'),
		($$'agency', '{}', 'open'$$, '22023'),
		($$'agency', '{face,mouth}', 'open'$$, '22023'),
		($$'agency', '{face,NULL}', 'open'$$, '22023'),
		($$'agency', '{{face},{plate}}', 'open'$$, '22023'),
		($$'agency', '{face}', 'wide'$$, '22023'),
		($$'agency', '{face}', NULL$$, '22023'),
		($$'agency', '{face}', 'open', '{""}'$$, '22023'),
		($$'agency', '{face}', 'open', '{NULL}'$$, '22023'),
		($$'agency', '{face}', 'sealed', '{border}'$$, '22023'),
		($$'agency', '{face}', 'refuse', '{border}'$$, '22023'),
		($$'agency', '{face}', 'refuse', require_tls => true$$, '22023'),
		($$'agency', '{face}', 'open', valid => 'empty'$$, '22023'),
		($$'agency', '{face}', 'open', relation => 'lanes'$$, '42809'),
		($$'agency', '{face}', 'open', relation => 'pg_class_oid_index'$$, '42809'),
		($$'agency', '{face}', 'open', relation => 4294967295$$, '42P01'),
		($$'agency', '{face}', 'open', quota => 10$$, '22023'),
		($$'agency', '{face}', 'open', quota_window => '1 day'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 0, quota_window => '1 day'$$, '22023'),
		($$'agency', '{face}', 'open', quota => -5, quota_window => '1 day'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '1 month'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '1 year'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '999 milliseconds'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '-1 day'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '3 days -72:00:00'$$, '22023'),
		($$'agency', '{face}', 'open', quota => 10, quota_window => '366 days 1 microsecond'$$, '22023'),
		($$'agency', '{face}', 'sealed', quota => 10, quota_window => '1 day'$$, '22023'),
		($$'agency', '{face}', 'sealed', mark => true$$, '22023'),
		($$'agency', '{face}', 'refuse', quota => 10, quota_window => '1 day'$$, '22023'),
		($$'agency', '{face}', 'refuse', mark => true$$, '22023')) AS v(arguments, code);
SELECT throws_like($$SELECT biometric.authorize('agency', '{mouth}', 'open')$$,
	'there is no kind of image "mouth"', 'an unknown kind is named');

-- Permits: what they give
SELECT is(said('face'), 'refuse no_permit', 'a party without a permit is refused');
SELECT biometric.authorize('agency', '{plate,face,face}', 'open', '{border control, search}') AS open_permit \gset
SELECT is((SELECT kinds FROM biometric.permit WHERE id = :open_permit), '{face,plate}',
	'authorize() returns the permit it made, each kind once');
SELECT is(last_change() - 'require_tls', format('{"action": "authorize", "permit": %s, "party": "agency",
	"kinds": ["face", "plate"], "delivery": "open", "purposes": ["border control", "search"]}', :open_permit)::jsonb,
	'a permit is an entry');
SELECT is(said('face'), 'sealed purpose_missing', 'without a purpose images stay sealed');
SELECT is(said('iris'), 'refuse no_permit', 'a permit is for the kinds that it names');
SET biometric_audit.purpose = '  border control ';
SELECT is(said('face'), 'open permitted', 'a purpose of the permit opens, blanks around it aside');
SELECT is(permit_of('face'), :open_permit::bigint, 'by that permit');
SET biometric_audit.purpose = 'curiosity';
SELECT is(said('plate'), 'refuse purpose_not_permitted', 'another purpose is refused');
BEGIN;
SET LOCAL biometric_audit.purpose = 'search';
SELECT is(said('face'), 'open permitted', 'a purpose can be declared for a transaction');
COMMIT;
SELECT is(said('face'), 'refuse purpose_not_permitted', 'and is over with it');
RESET biometric_audit.purpose;
SELECT is(said('face'), 'sealed purpose_missing', 'RESET takes a purpose back');
SELECT throws_ok($$SET biometric_audit.purpose = E'a\tb'$$, '22023', NULL,
	'a purpose holds no control characters');

BEGIN;
SELECT biometric.authorize('agency', '{iris}', 'observe');
SELECT is(said('iris'), 'refuse no_permit', 'nobody decides by permits that are not committed');
ROLLBACK;
SELECT biometric.authorize('agency', '{iris}', 'observe') AS observe_permit \gset
SELECT is(said('iris'), 'observe permitted', 'observe asks for no purpose');
SELECT biometric.authorize('agency', '{document}', 'sealed') AS sealed_permit \gset
SELECT is(said('document'), 'sealed permitted', 'sealed gives sealed values');
SELECT biometric.authorize('agency', '{fingerprint}', 'open', '{}') AS none_permit \gset
SET biometric_audit.purpose = 'search';
SELECT is(said('fingerprint'), 'refuse purpose_not_permitted', 'an empty list of purposes permits none');
SELECT biometric.authorize('agency', '{fingerprint}', 'open');
SELECT is(said('fingerprint'), 'open permitted', 'no list of purposes permits any, beside a permit that permits none');
SELECT biometric.revoke(:none_permit, 'test');
SELECT biometric.authorize('agency', '{document}', 'open', require_tls => true);
SELECT is(said('document'), 'sealed permitted', 'what TLS would open is not opened without');
SELECT biometric.authorize('second', '{document}', 'open');
SELECT is(said('document'), 'sealed permitted', 'the permit of another party counts for nothing');
SELECT biometric.authorize('agency', '{document}', 'open', valid => '[2019-01-01,2020-01-01)');
SELECT biometric.authorize('agency', '{document}', 'open', valid => '[2900-01-01,)');
SELECT is(said('document'), 'sealed permitted', 'permits count in their period only');
SELECT biometric.authorize('agency', '{document}', 'open', valid => '[2019-01-01,2900-01-01)');
SELECT is(said('document'), 'open permitted', 'and then they do');

-- Quotas, and marks
SELECT biometric.authorize('agency', '{iris}', 'open', quota => 3, quota_window => '36 hours', mark => true) AS quota_permit \gset
SELECT is(last_change() - 'permit' - 'require_tls', '{"action": "authorize", "party": "agency", "kinds": ["iris"],
	"delivery": "open", "quota": 3, "quota_window": "36:00:00", "mark": true}', 'quota, window and mark are in the entry');
SELECT is((SELECT concat_ws(' ', quota, quota_window, mark) FROM biometric.permit WHERE id = :quota_permit), '3 36:00:00 t',
	'and in the table');
CREATE FUNCTION left_of(kind text) RETURNS bigint LANGUAGE sql AS
	$$ SELECT e.quota_left FROM biometric.explain_access() AS e WHERE e.kind = left_of.kind $$;
SELECT is(left_of('iris'), 3::bigint, 'explain_access() tells how many images are left');
SELECT is(left_of('face'), NULL, 'of a permit without a quota none');
SELECT biometric.authorize('agency', '{iris}', 'open') AS free_permit \gset
SELECT is(left_of('iris'), NULL, 'of permits that open alike one without a quota counts');
SELECT biometric.revoke(:free_permit, 'test');
SELECT throws_ok(format('SELECT biometric.set_quota(%s)', arguments), code, NULL, format('set_quota(%s) is refused', arguments))
	FROM (VALUES
		($$NULL, 5, '1 day', 'test'$$, '22023'),
		($$-1, 5, '1 day', 'test'$$, '42704'),
		(format($$%s, 5, '1 day', 'test'$$, :none_permit), '55000'),
		(format($$%s, 5, '1 day', ''$$, :quota_permit), '22023'),
		(format($$%s, 5, NULL, 'test'$$, :quota_permit), '22023'),
		(format($$%s, NULL, '1 day', 'test'$$, :quota_permit), '22023'),
		(format($$%s, 0, '1 day', 'test'$$, :quota_permit), '22023'),
		(format($$%s, 5, '1 month', 'test'$$, :quota_permit), '22023'),
		(format($$%s, 5, '1 day', 'test'$$, :sealed_permit), '22023')) AS v(arguments, code);
SELECT is(left_of('iris'), 3::bigint, 'what is refused changes nothing');
SELECT biometric.set_quota(:quota_permit, 8, '366 days', 'more travellers');
SELECT is(last_change() - 'permit', '{"action": "set_quota", "party": "agency", "quota": 8, "quota_window": "366 days",
	"previous_quota": 3, "previous_window": "36:00:00", "reason": "more travellers"}',
	'another quota is an entry that tells the former one and the reason');
SELECT is(left_of('iris'), 8::bigint, 'and in force at once');
SELECT biometric.set_quota(:quota_permit, NULL, NULL, 'no limit');
SELECT is(left_of('iris'), NULL, 'so is that there is none');
SELECT biometric.revoke(:quota_permit, 'test');

-- Relations
SELECT biometric.authorize('agency', '{face}', 'sealed', relation => 'lane');
SELECT is(said('face', 'lane'), 'sealed permitted', 'a permit for the table goes before one for every table');
SELECT is(said('face', 'traveller'), 'open permitted', 'and is nothing to another table');
SELECT is(said('face', 'lane_north_1'), 'sealed permitted', 'it holds for what descends from the table');
SELECT biometric.authorize('agency', '{face}', 'open', relation => 'lane_north', require_tls => true);
SELECT is(said('face', 'lane_north_1'), 'refuse tls_required', 'the nearest ancestor goes before a farther one');
SELECT biometric.authorize('agency', '{face}', 'open', relation => 'lane_north');
SELECT is(said('face', 'lane_north_1'), 'open permitted', 'of permits for one table the most generous counts');
SELECT biometric.authorize('agency', '{face}', 'refuse', relation => 'lane_north') AS refuse_permit \gset
SELECT is(said('face', 'lane_north_1'), 'refuse refused_by_permit', 'unless one of them refuses');
SELECT is(permit_of('face', 'lane_north_1'), :refuse_permit::bigint, 'which explain_access() names');
SELECT is(last_change() ->> 'relation', 'public.lane_north', 'an entry names the table with its schema');
SELECT throws_ok($$SELECT said('face', 'lanes')$$, '42809', NULL, 'explain_access() is about tables');

-- Taking back
SELECT throws_ok(format('SELECT biometric.revoke(%s, %s)', permit, reason), code, NULL,
		format('revoke(%s, %s) is refused', permit, reason))
	FROM (VALUES ('NULL', '''test''', '22023'), ('-1', '''test''', '42704'), (:'refuse_permit', 'NULL', '22023'),
		(:'none_permit', '''test''', '55000')) AS v(permit, reason, code);
SELECT biometric.revoke(:refuse_permit, 'no longer');
SELECT is(said('face', 'lane_north_1'), 'open permitted', 'a permit that is revoked counts no more');
SELECT is((SELECT revoked_reason FROM biometric.permit WHERE id = :refuse_permit), 'no longer', 'and is kept');
SELECT is(last_change() ->> 'reason', 'no longer', 'revoking is an entry');
SELECT throws_ok($$SELECT biometric.quarantine('agency', NULL)$$, '22023', NULL, 'a quarantine needs a reason');
SELECT biometric.quarantine('agency', 'stolen laptop');
SELECT is(said('face'), 'refuse quarantined', 'a quarantine cuts the party off');
SELECT is(last_change(), '{"action": "quarantine", "party": "agency", "reason": "stolen laptop", "end_sessions": false,
	"sessions": 0, "replication": 0}', 'and is an entry');
SELECT lives_ok($$SELECT biometric.quarantine('agency', 'again')$$, 'twice is no error');
SELECT is((SELECT quarantine_reason FROM biometric.party WHERE name = 'agency'), 'stolen laptop',
	'and the first reason is kept');
SELECT biometric.register_party('agency', 'The Agency', '[2019-01-01,2020-01-01)');
SELECT is(said('face'), 'refuse contract_expired', 'outside its contract a party is refused');
SELECT ok(last_change() ? 'previous_contract', 'changing a contract is an entry that tells the former one');
SELECT biometric.register_party('agency', 'The Agency', '[2900-01-01,)');
SELECT is(said('face'), 'refuse contract_expired', 'also before it begins');
SELECT biometric.register_party('agency', 'The Agency', NULL);
SELECT biometric.reinstate('agency', 'found again');
SELECT is(said('face'), 'open permitted', 'a party that is reinstated receives again');
SELECT throws_ok($$SELECT biometric.reinstate('agency', 'test')$$, '55000', NULL, 'but not twice');
SELECT throws_ok($$SELECT biometric.unregister_local('')$$, '22023', NULL, 'the unix socket is given up for a reason');
SELECT biometric.unregister_local('test is over');
SELECT is(said('face'), 'refuse unregistered_network', 'unix sockets given up belong to nobody');

-- A process without a client, here a parallel worker
CREATE FUNCTION said_without_client() RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS
	'BEGIN RETURN (SELECT delivery || '' '' || reason FROM biometric.explain_access() WHERE kind = ''face''); END';
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query'
	ELSE 'force_parallel_mode' END, 'on', false) AS parallel \gset
SELECT said_without_client() AS without_client \gset
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query'
	ELSE 'force_parallel_mode' END, 'off', false) AS parallel \gset
SELECT is(:'without_client'::text, 'sealed no_client'::text, 'a process without a client gets nothing but sealed values');

-- The ledger
SELECT is((SELECT count(*) FROM biometric.ledger WHERE event = 'policy_changed' AND detail ->> 'action' IS NULL),
	0::bigint, 'each entry says what was done');
SELECT ok((SELECT ok FROM biometric.verify_ledger()), 'the ledger with all these changes verifies');

SELECT * FROM finish();
DROP ROLE policy_custodian, policy_auditor, policy_nobody, policy_superuser;

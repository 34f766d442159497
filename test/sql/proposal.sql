-- Proposals, as far as one session can see them; two persons are in tap/.
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(22);

CREATE ROLE proposal_auditor LOGIN;
GRANT biometric_auditor TO proposal_auditor;
CREATE ROLE proposal_nobody LOGIN;

SELECT is(current_setting('biometric_audit.two_person'), 'off', 'one person is enough by default');
SELECT is(current_setting('biometric_audit.proposal_lifetime'), '3d', 'a proposal lives for 72 hours');
SELECT throws_ok('SET biometric_audit.two_person = off', '55P02', NULL, 'no session sets it');
SELECT throws_ok('SET biometric_audit.proposal_lifetime = 1', '55P02', NULL, 'nor how long one lives');

SELECT lives_ok($$SELECT biometric.register_party('proposal', 'p', NULL)$$, 'a party');
SELECT lives_ok($$SELECT biometric.register_network('10.77.0.0/16', 'proposal')$$,
	'its network is registered at once');
SELECT is((SELECT count(*) FROM biometric.proposal), 0::bigint, 'nothing was proposed');

SELECT throws_ok('SELECT biometric.approve(NULL)', '22023', NULL, 'NULL is no proposal');
SELECT throws_ok('SELECT biometric.approve(1)', '42704', 'there is no proposal 1', 'nor is any number');
SELECT throws_ok($$SELECT biometric.reject(NULL, 'x')$$, '22023', NULL, 'NULL is not rejected');
SELECT throws_ok($$SELECT biometric.reject(1, 'x')$$, '42704', 'there is no proposal 1', 'nor is any number');
SELECT throws_ok($$SELECT biometric.reject(1, NULL)$$, '22023', NULL, 'a rejection has a reason');

SELECT throws_ok($$INSERT INTO biometric.proposed (function, types, arguments, change, proposed_by,
	proposed_login, proposed_role, proposed_at, expires_at) VALUES ('reinstate', '{text,text}',
	'{proposal,x}', '{}', 'somebody', 1, 'somebody', now(), 'infinity')$$, '42501', NULL,
	'nobody writes a proposal down by hand');
SELECT throws_ok('DELETE FROM biometric.proposed', '42501', NULL, 'or takes one away');
SELECT throws_ok('TRUNCATE biometric.proposed', '42501', NULL, 'or all');
SELECT throws_ok('UPDATE biometric.two_person SET switched_on = false', '42501', NULL,
	'or says what was on record');

SET ROLE proposal_auditor;
SELECT is((SELECT count(*) FROM biometric.proposal), 0::bigint, 'auditors read proposals');
SELECT throws_ok('SELECT biometric.approve(1)', '42501', NULL, 'and approve none');
SET ROLE proposal_nobody;
SELECT throws_ok('SELECT FROM biometric.proposal', '42501', NULL, 'others read none');
SELECT throws_ok('SELECT FROM biometric.proposed', '42501', NULL, 'in no way');
SELECT throws_ok('SELECT biometric.approve(1)', '42501', NULL, 'approve none');
SELECT throws_ok($$SELECT biometric.reject(1, 'x')$$, '42501', NULL, 'and reject none');
RESET ROLE;

SELECT * FROM finish();

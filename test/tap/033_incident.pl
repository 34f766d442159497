# Incidents under load and failure: what was committed is in the ledger, whatever
# becomes of the server; what was not is not; lists with more people than an
# entry holds; and lists that lost entries.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

use constant OFFICE => '127.0.0.2';
use constant { PEOPLE => 900, SEGMENT => 1024 };

my $db = 'postgres';
my $keys = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$keys/signing.pem'\n"
	  . "biometric_audit.ring_size = 256kB\n"
	  . 'biometric_audit.segment_size = ' . SEGMENT);
$node->prepare($db);
$node->register($db, 'office', OFFICE . '/32', '{face}', 'open', '{test}');
$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, name text, img biometric.face_image);
CREATE TABLE visitor (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE note (line text, img biometric.face_image);
GRANT SELECT ON traveller, visitor, note TO officer;
SELECT biometric.describe_collection('traveller', '{name}');
INSERT INTO traveller SELECT n, repeat(md5(n::text), 16), numbered_jpeg(n, 300)::biometric.face_image
	FROM generate_series(1, ${\PEOPLE}) AS n;
INSERT INTO visitor SELECT id, img FROM traveller WHERE id = 1;
INSERT INTO note VALUES ('no key', numbered_jpeg(5000, 300)::biometric.face_image);
END

sub shown
{
	my ($query) = @_;
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'test');
	my $result = $wire->query($query);
	die $result->message if $result->error;
	$wire->close;
	return;
}

sub opened
{
	my ($title, @more) = @_;
	return $node->policy($db, 'SELECT biometric.open_incident('
		  . join(', ', "'office'", "'[2020-01-01,)'", "'$title'", map { "'$_'" } @more) . ')');
}

sub state
{
	my ($incident) = @_;
	return $node->sql($db, <<"END");
SELECT concat_ws(' ', state, people, notified) FROM biometric.incident_state WHERE id = $incident
END
}

# everybody(incident) is the arguments that mark all of the list.
sub everybody
{
	my ($incident) = @_;
	return "$incident, ARRAY(SELECT subject FROM biometric.notify_list($incident) "
	  . "WHERE subject IS NOT NULL), 'letter'";
}

# What the ledger's entries make of the tables, beside the tables.
sub recorded
{
	my $entries = $node->sql($db, <<'END');
WITH step AS (SELECT seq, detail AS d, detail ->> 'action' AS action, (detail ->> 'incident')::bigint AS i
	FROM biometric.ledger WHERE event = 'incident')
SELECT string_agg(concat_ws(' ', o.i, o.d ->> 'party', o.d ->> 'title', (o.d ->> 'during')::tstzrange,
	(SELECT (s.d ->> 'due')::timestamptz FROM step s WHERE s.i = o.i AND s.d ? 'due' ORDER BY s.seq DESC LIMIT 1),
	(SELECT s.d ->> 'reason' FROM step s WHERE s.i = o.i AND s.action = 'close_incident'),
	(SELECT count(*) || md5(string_agg(concat((s.d ->> 'relation'), subject::text, (s.d ->> 'means')), ',' ORDER BY s.d ->> 'relation', subject::text))
		FROM step s CROSS JOIN jsonb_array_elements(s.d -> 'subjects') AS subject
		WHERE s.i = o.i AND s.action = 'mark_notified')), E'\n' ORDER BY o.i)
FROM step o WHERE o.action = 'open_incident'
END
	my $tables = $node->sql($db, <<'END');
SELECT string_agg(concat_ws(' ', i.id, i.party, i.title, i.during, i.due_at, i.close_reason,
	(SELECT count(*) || md5(string_agg(concat(relation, subject::text, means), ',' ORDER BY relation, subject::text))
		FROM biometric.notification AS n WHERE n.incident = i.id)), E'\n' ORDER BY i.id)
FROM biometric.incident AS i
END
	return ($entries, $tables);
}

sub agree
{
	my ($what) = @_;
	my ($entries, $tables) = recorded();
	return is($entries, $tables, "entries and tables agree $what");
}

# ---------------------------------------------------------------- deadlines

is($node->sql($db, 'SHOW biometric_audit.notification_period'), '3d', '72 hours, unless it is set');
$node->set('biometric_audit.notification_period', '90 min');
my $short = opened('by the setting');
my $long = opened('by itself', '10 days');
is($node->sql($db, "SELECT string_agg((due_at - opened_at)::text, ' ' ORDER BY id) FROM biometric.incident"),
	'01:30:00 10 days', 'the deadline comes from the setting, or from the call');
$node->set('biometric_audit.notification_period', '0');
is(state(opened('no time')), 'overdue 0 0', 'no time at all is overdue at once, also when nobody is on the list');
$node->set('biometric_audit.notification_period', undef);

# ---------------------------------------------------------------- many people

shown('SELECT img FROM visitor');
shown('SELECT img FROM note');
shown('SELECT img FROM traveller');
is($node->sql($db, "SELECT string_agg(relation || n, ' ' ORDER BY relation) FROM (SELECT relation, count(subject) AS n FROM biometric.notify_list($long) GROUP BY 1) AS q"),
	'public.note0 public.traveller' . PEOPLE . ' public.visitor1',
	'the list has everybody, and those of whom nothing is known without a name');
is(state($long), 'open ' . (PEOPLE + 1) . ' 0', 'who count for those whom nobody can tell');
my ($mismatch) = $node->sql($db, <<"END");
SELECT count(*) FROM biometric.notify_list($long) AS l
	FULL JOIN (SELECT relation, row_key, count(DISTINCT image_id) AS images, min(at) AS first, max(at) AS last
		FROM (SELECT relation, row_key, image_id, at FROM biometric.disclosure WHERE party = 'office' AND relation <> 'public.note'
			-- whom a visitor's image shows, the other table knows
			UNION ALL SELECT 'public.traveller', row_key, image_id, at FROM biometric.disclosure WHERE relation = 'public.visitor') AS e
		GROUP BY 1, 2) AS d
	ON d.relation = l.relation AND l.row_keys = jsonb_build_array(d.row_key)
	WHERE l.relation IS DISTINCT FROM 'public.note' AND (l.images, l.first_released, l.last_released)
		IS DISTINCT FROM (d.images, d.first, d.last)
END
is($mismatch, 0, 'each row is as counted from the disclosures');

my $mark = $node->mark($db);
is($node->policy($db, 'SELECT biometric.mark_notified(' . everybody($long) . ')'), PEOPLE + 1, 'all are marked at once');
my @entries = $node->records($db, <<"END");
SELECT jsonb_array_length(detail -> 'subjects') AS people FROM biometric.ledger
WHERE seq >= $mark AND event = 'incident' AND detail ->> 'relation' = 'public.traveller'
END
cmp_ok(scalar @entries, '>', 1, 'in several entries, where one cannot hold them, nor the ring all');
is(state($long), 'notified ' . (PEOPLE + 1) . ' ' . (PEOPLE + 1), 'everybody is notified');
$node->sql($db, 'DROP TABLE visitor');
is(state($long), 'notified ' . (PEOPLE + 1) . ' ' . (PEOPLE + 1), 'also when a table has gone');
agree('after that');

# ---------------------------------------------------------------- at the same time

my $one = $node->connect_from('local', $db, 'custodian');
my $two = $node->connect_from('local', $db, 'custodian');
my $call = qq{SELECT biometric.mark_notified($short, '{"{\\"id\\": 1}"}', 'mail')};
$one->query('BEGIN');
is($one->query($call)->value, 1, 'somebody marks somebody');
$two->query("SET lock_timeout = '10ms'");
is($two->query($call)->sqlstate, '55P03', 'somebody else has to wait for that');
$two->query('RESET lock_timeout');
$one->query('COMMIT');
is($two->query($call)->value, 0, 'and then marks nobody');
agree('when two mark the same');
my $raced = opened('closed while somebody marks');
$one->query('BEGIN');
is($one->query(qq{SELECT biometric.mark_notified($raced, '{"{\\"id\\": 1}"}', 'mail')})->value, 1, 'somebody is marked');
$two->send_query("SELECT biometric.close_incident($raced, 'done')");
poll_until(sub { $node->sql($db, 'SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ' . $two->pid) });
$one->query('COMMIT');
is($two->drain->error, undef, 'and the incident closed by who had to wait for that');
is($node->sql($db, <<"END"), 1, 'who counts them');
SELECT detail -> 'notified' FROM biometric.ledger
WHERE event = 'incident' AND detail ->> 'action' = 'close_incident' AND detail -> 'incident' = '$raced'
END

# ---------------------------------------------------------------- crashes

$mark = $node->mark($db);
is(opened('just before a crash'), $short + 4, 'an incident is opened');
$one->query('BEGIN');
$one->query("SELECT biometric.close_incident($short, 'never committed')");
$node->crash;
$node->start;
is($node->sql($db, q{SELECT count(*) FROM biometric.incident WHERE title = 'just before a crash'}), 1,
	'one that was opened survives a crash');
is($node->events($db, $mark) =~ s/session, //gr, 'incident', 'so does its entry, and there is none of what was not committed');
like(state($short), qr/^open/, 'which has not happened');
agree('after a crash');

# ---------------------------------------------------------------- a ledger that takes nothing

my $worker = $node->worker($db);
$node->set('biometric_audit.ledger_timeout', '200ms');
$node->halt($worker);
my $refused = $node->connect_from('local', $db, 'custodian')
  ->query("SELECT biometric.close_incident($short, 'nobody writes it down')");
kill 'CONT', $worker;
$node->set('biometric_audit.ledger_timeout', undef);
is($refused->sqlstate, '55000', 'what cannot be written down is not done: ' . ($refused->message // ''));
like(state($short), qr/^open/, 'the incident is as before');

# ---------------------------------------------------------------- entries that are kept elsewhere

my $late = opened('when entries are elsewhere');
poll_until(sub { $node->sql($db, 'SELECT pending FROM biometric.ledger_status()') == 0 });
$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
poll_until(sub { $node->sql($db, 'SELECT settled >= ' . SEGMENT . ' FROM biometric.head') eq 't' });
my $root = $node->sql($db, 'SELECT biometric.root(' . SEGMENT . ')');
my $detached = $node->connect_from('local', $db, 'custodian')
  ->query("SELECT biometric.detach_segment(0, '$root', 'archived')");
is($detached->error ? $detached->message . ' ' . $detached->detail : '', '', 'the first segment is detached');
my $list = $node->admin($db)->query("SELECT count(subject) FROM biometric.notify_list($late)");
cmp_ok($list->value, '<', PEOPLE, 'people whose entries were detached are missing from a list');
like(join(' ', map { $_->{M} } $list->notices), qr/list of incident $late is not complete/, 'which says so');
is(state($long), 'notified ' . (PEOPLE + 1) . ' ' . (PEOPLE + 1), 'who was told is on the list for ever');
my $lost = '{"{\"name\": \"nobody knows any more\"}"}';
my $refusal = $node->connect_from('local', $db, 'custodian')
  ->query("SELECT biometric.mark_notified($late, '$lost', 'letter')");
is($refusal->sqlstate, '22023', 'somebody who may have been on it is not marked without a table');
is($node->policy($db, "SELECT biometric.mark_notified($late, '$lost', 'letter', 'public.traveller')"), 1,
	'but with one');
# ---------------------------------------------------------------- many rows of one person

$node->register($db, 'depot', '127.0.0.3/32', '{face}', 'open', '{test}');
$node->sql($db, <<'END');
CREATE TABLE sighting (id int PRIMARY KEY, name text, img biometric.face_image);
GRANT SELECT ON sighting TO officer;
SELECT biometric.describe_collection('sighting', '{name}');
INSERT INTO sighting SELECT n, CASE WHEN n <= 1001 THEN 'often' ELSE 'enough' END,
	numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, 2001) AS n;
END
$node->connect_from('127.0.0.3', $db, 'officer', 'test')->query('SELECT img FROM sighting');
my $often = $node->policy($db, q{SELECT biometric.open_incident('depot', '[2020-01-01,)', 'many rows')});
$list = $node->admin($db)->query("SELECT subject ->> 'name' || ' ' || jsonb_array_length(row_keys) || ' ' || images "
	. "FROM biometric.notify_list($often) ORDER BY 1");
is(join(', ', $list->column(0)), 'enough 1000 1000, often 1000 1001', 'a thousand keys are listed of one person');
like(join(' ', map { $_->{M} . ' ' . $_->{D} } $list->notices), qr/keys of all rows.*\b1 of those listed/,
	'and it is said where that is not all');
ok($node->verifies($db), 'the ledger verifies');

$node->stop;
done_testing();

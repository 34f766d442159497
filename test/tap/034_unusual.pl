# Who gets far more than they used to, and how much everybody got in each hour:
# a server that lives through several days, its clock set by libfaketime.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed);

use constant { OFFICE => '127.0.0.2', BULK => '127.0.0.3' };
use constant IMAGES => 700;

plan skip_all => 'libfaketime is not installed' unless BiometricAudit::Node::faketime();

my $db = 'postgres';
my $node = BiometricAudit::Node->create('days', start => 0);
my $running = 0;

# at(time) starts the server anew, at that time (UTC), and waits until the policy is
# in force: when it comes into force while a batch of images is on its way, they are
# decided, and put on record, once more.
sub at
{
	my ($time) = @_;
	$node->stop if $running;
	$node->start_at($time);
	$node->policy($db, q{SELECT biometric.register_party('house', 'the server itself', NULL)})
	  if $running;
	$running = 1;
	return;
}

# A login of a network gets so many images, in one session. Returns its process.
sub gets
{
	my ($address, $login, $count) = @_;
	my $wire = $node->connect_from($address, $db, $login, 'test');
	my $result = $wire->query("SELECT img FROM traveller WHERE id <= $count");
	die $result->message if $result->error;
	die 'sealed' if grep { is_sealed($_) } $result->column(0);
	die 'other than asked' unless $result->row_count == $count;
	my $pid = $wire->pid;
	$wire->close;
	return $pid;
}

# "login hour disclosures refusals" of a party, by the function and from the entries.
sub by_hour
{
	my ($party, $during) = @_;
	return $node->sql($db, <<"END");
SELECT coalesce(string_agg(concat_ws(' ', login, hour AT TIME ZONE 'UTC', disclosures, refusals), E'\\n'
	ORDER BY hour, login COLLATE "C"), 'nothing') FROM biometric.activity_by_hour('$party', '$during')
END
}

sub counted
{
	my ($party, $during) = @_;
	return $node->sql($db, <<"END");
SELECT coalesce(string_agg(concat_ws(' ', login, hour, disclosures, refusals), E'\\n'
	ORDER BY hour, login COLLATE "C"), 'nothing') FROM (
	SELECT session_user_name AS login, date_trunc('hour', at AT TIME ZONE 'UTC') AS hour,
		count(*) FILTER (WHERE event IN ('disclosed', 'observed')) AS disclosures,
		count(*) FILTER (WHERE event = 'refused') AS refusals
	FROM biometric.ledger WHERE party IS NOT DISTINCT FROM nullif('$party', '')
		AND event IN ('disclosed', 'observed', 'refused') AND at <@ tstzrange '$during'
	GROUP BY 1, 2) AS q
END
}

# "party login hour disclosures days" of whom unusual_activity lists: parties and logins.
sub unusual
{
	my ($at) = @_;
	my $from = defined $at ? "biometric.unusual_activity_at('$at')" : 'biometric.unusual_activity';
	return $node->sql($db, <<"END");
SELECT coalesce(string_agg(concat_ws(' ', party, coalesce(login, '*'),
	extract(hour FROM hour AT TIME ZONE 'UTC'), disclosures, days), ', '
	ORDER BY party, login NULLS FIRST, hour), 'nobody') FROM $from WHERE process IS NULL
END
}

# ---------------------------------------------------------------- six days

at('2027-03-01 12:50:00');
$node->prepare($db);
foreach my $login (qw(clerk robot newcomer))
{
	$node->sql($db, "CREATE ROLE $login LOGIN");
}
$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON traveller TO officer, clerk, robot, newcomer;
INSERT INTO traveller SELECT n, numbered_jpeg(n, 500)::biometric.face_image
	FROM generate_series(1, ${\IMAGES}) AS n;
END
$node->register($db, 'office', OFFICE . '/32', '{face}', 'open', '{test}');
$node->register($db, 'bulk', BULK . '/32', '{face}', 'open', '{test}');

foreach my $day (1 .. 5)
{
	at("2027-03-0$day 13:10:00");
	gets(OFFICE, 'officer', 30 + $day);
	gets(OFFICE, 'clerk', 5);
	gets(BULK, 'robot', 200);
	next unless $day == 3;
	# blocks of entries that two hours share, and refusals among them
	at("2027-03-0$day 13:50:00");
	gets(BULK, 'robot', 50);
	at("2027-03-0$day 14:05:00");
	gets(BULK, 'robot', 80);
	$node->connect_from(BULK, $db, 'robot', 'other')->query('SELECT img FROM traveller');
	gets(OFFICE, 'officer', 7);
	is(unusual(), 'nobody', 'an hour like those before is not unusual');
}

is(by_hour($_->[0], $_->[1]), counted($_->[0], $_->[1]), "$_->[2], counted from the entries")
  foreach ['office', '(,)', 'what one party got in each hour is exact'],
  ['bulk', '(,)', 'and another, with refusals'],
  ['bulk', '[2027-03-03 13:50:00+00,2027-03-03 14:00:00+00)', 'and of a period within an hour'],
  ['bulk', '[2027-03-02 13:10:00+00,2027-03-05 13:10:00.05+00)', 'and of one that begins and ends anywhere'],
  ['house', '(,)', 'and of a party that got nothing'];
like(by_hour('bulk', '(,)'), qr/^robot 2027-03-03 14:00:00 80 1$/m, 'a refusal counts as one');
cmp_ok($node->sql($db, 'SELECT count(*) FROM biometric.activity'), '>', 5, 'there are whole blocks');
my $blocks = $node->sql($db, <<'END');
SELECT count(*) FROM biometric.activity
WHERE date_trunc('hour', first_at) <> date_trunc('hour', last_at)
END
cmp_ok($blocks, '>', 0, 'and blocks that two hours share');

at('2027-03-06 13:10:00');
my $process = gets(OFFICE, 'officer', 500);
gets(OFFICE, 'clerk', 90);
gets(BULK, 'robot', 320);
is(unusual(), 'office * 13 590 5, office officer 13 500 5',
	'who gets far more than in the same hour of other days is listed, party and login');
my ($officer) = $node->records($db, <<'END');
SELECT * FROM biometric.unusual_activity WHERE login = 'officer' AND process IS NULL
END
my ($past) = $node->records($db, <<'END');
SELECT avg(n)::float8 AS usual, stddev_pop(n)::float8 AS spread, max(n) AS highest FROM (
	SELECT count(*) AS n FROM biometric.disclosure
	WHERE session_user_name = 'officer' AND at < '2027-03-06 00:00+00' AND extract(hour FROM at AT TIME ZONE 'UTC') = 13
	GROUP BY date_trunc('day', at AT TIME ZONE 'UTC')) AS q
END
cmp_ok(abs($officer->{$_} - $past->{$_}), '<', 1e-6, "$_ is as counted from the entries")
  foreach qw(usual spread highest);
cmp_ok(abs($officer->{times_usual} - 500 / $past->{usual}), '<', 1e-6, 'and how many times that is');
is($officer->{why},
	'500 images in the hour from 2027-03-06 13:00:00+00 so far; in the same hour of the 5 days '
	  . 'before 33.0 on average, with a spread of 1.4, and at most 35',
	'a sentence has the figures');
my ($session, @more) =
  $node->records($db, 'SELECT * FROM biometric.unusual_activity WHERE process IS NOT NULL');
is(@more, 0, 'one session is listed');
is("$session->{login} $session->{process} $session->{disclosures}", "officer $process 500",
	'that which got them');
like($session->{session_start}, qr/^2027-03-06T13:[1-4]/, 'since when the ledger knows of it');
like($session->{why}, qr/in the login's same hour of the 5 days/, 'it is compared with its login');
unlike(unusual(), qr/clerk/, 'who stays below the floor is not listed');
unlike(unusual(), qr/bulk/, 'nor is who gets less than twice the most that there ever was');
is($node->sql($db, 'SET biometric_audit.activity_floor = 80; ' . <<'END'), 't', 'a lower floor lists the first');
SELECT EXISTS (SELECT FROM biometric.unusual_activity WHERE login = 'clerk')
END
is($node->sql($db, 'RESET biometric_audit.activity_floor; SET biometric_audit.activity_days = 2; ' . <<'END'), 2, 'fewer days of past are fewer');
SELECT max(days) FROM biometric.unusual_activity
END
$node->sql($db, 'RESET biometric_audit.activity_days');

at('2027-03-06 14:20:00');
gets(OFFICE, 'newcomer', 150);
my $listed = 'office * 13 590 5, office * 14 150 5, office newcomer 14 150 0, office officer 13 500 5';
is(unusual(), $listed, 'the hour before still counts, and somebody without a past above the floor');
is($node->sql($db, <<'END'),
SELECT why FROM biometric.unusual_activity WHERE login = 'newcomer' AND process IS NULL
END
	'150 images in the hour from 2027-03-06 14:00:00+00 so far; there is no past to compare this with, '
	  . 'and up to 100 are usual',
	'which is said');

at('2027-03-06 15:05:00');
is(unusual(), 'office * 14 150 5, office newcomer 14 150 0', 'an hour later only the hour before that');
is(unusual('2027-03-06 14:59:59+00'), $listed, 'of a time that is past, it says what it said then');
is(unusual('2027-03-06 13:09:59+00'), 'nobody', 'what happened after that does not count');
is(by_hour('office', '(,)'), counted('office', '(,)'), 'the hours are exact still');

foreach my $edge (60, 260)
{
	my $period = $node->sql($db, <<"END");
SELECT tstzrange(min(at), max(at)) FROM (SELECT at FROM biometric.disclosure
	WHERE session_user_name = 'officer' AND at > '2027-03-06 00:00+00' ORDER BY seq OFFSET $edge LIMIT 180) AS q
END
	is(by_hour('office', $period), counted('office', $period), 'also where a period ends within a block');
}

foreach my $role (qw(auditor custodian))
{
	is($node->run($role, $db, 'SELECT count(*) FROM biometric.unusual_activity'), 3, "${role}s may ask");
	is($node->run($role, $db, q{SELECT sum(disclosures) FROM biometric.activity_by_hour('bulk', '(,)')}),
		5 * 200 + 50 + 80 + 320, 'and for the hours');
}
ok(!eval { $node->run('officer', $db, $_); 1 }, "others may not: $_")
  foreach 'SELECT FROM biometric.unusual_activity',
  q{SELECT FROM biometric.activity_by_hour('bulk', '(,)')},
  'SELECT FROM biometric.unusual_activity_at(now())';
ok($node->verifies($db), 'the ledger verifies');

# ---------------------------------------------------------------- a clock that was wrong

$node->unguarded($db, q{ALTER TABLE biometric.activity DISABLE TRIGGER ALL;
	UPDATE biometric.activity SET first_at = '-infinity', last_at = 'infinity'});
my $asked = $node->admin($db);
$asked->query("SET statement_timeout = '${PostgreSQL::Test::Utils::timeout_default}s'");
my $answer = $asked->query(q{SELECT count(*) FROM biometric.unusual_activity_at('2027-03-06 14:59:59+00')});
is($answer->error, undef, 'blocks that last for ever are read as far as they are asked for');

$node->stop;
done_testing();

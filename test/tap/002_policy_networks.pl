# Who is served and who is not: every reason for a refusal reached over the
# wire, networks of every family, deliveries, permits for single relations, and
# policy that changes under sessions, plans and results that are under way.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until has_ipv6);
use BiometricAudit::Picture qw(numbered_jpeg fingerprint);

use constant OFFICE => '127.0.0.2';
use constant BINARY => 1;

my $db = 'postgres';
my $node = BiometricAudit::Node->create('agency', start => 0);
my $keys = $node->basedir . '/keys';
system_or_bail(
	'openssl', 'req', '-x509', '-newkey',
	'rsa:2048', '-nodes', '-days', '3650',
	'-subj', '/CN=localhost', '-keyout', "$keys/server.key",
	'-out', "$keys/server.crt");
chmod 0600, "$keys/server.key";
$node->append_conf('postgresql.conf',
		"ssl = on\nssl_cert_file = '$keys/server.crt'\nssl_key_file = '$keys/server.key'\n"
	  . "biometric_audit.max_databases = 3\nmax_prepared_transactions = 2\n");
$node->start;
$node->prepare($db);
$node->sql($db, <<'END');
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image, plate biometric.plate_image);
CREATE TABLE asylum (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE lane (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE lane_low PARTITION OF lane FOR VALUES FROM (0) TO (5);
CREATE TABLE lane_high PARTITION OF lane FOR VALUES FROM (5) TO (10);
CREATE TABLE parent (id int, img biometric.face_image);
CREATE TABLE child () INHERITS (parent);
GRANT SELECT, INSERT ON traveller, asylum, lane, lane_low, lane_high, parent, child TO officer;
INSERT INTO traveller SELECT n, numbered_jpeg(n, 1000)::biometric.face_image,
	numbered_jpeg(n, 1000)::biometric.plate_image FROM generate_series(1, 50) n;
INSERT INTO asylum SELECT id, img FROM traveller;
INSERT INTO lane SELECT id, img FROM traveller WHERE id < 10;
INSERT INTO parent SELECT id, img FROM traveller WHERE id < 10;
INSERT INTO child SELECT id, img FROM traveller WHERE id < 10;
CREATE VIEW face_view AS SELECT id, img FROM traveller;
CREATE FUNCTION face_of(n int) RETURNS biometric.face_image LANGUAGE plpgsql STABLE AS
	'BEGIN RETURN (SELECT img FROM public.traveller WHERE id = n); END';
GRANT SELECT ON face_view TO officer;
END

my $next_host = 100;

# A party of its own with an address of its own. permits: arguments of
# authorize after the party; contract: a range.
sub party
{
	my ($name, %options) = @_;
	my $address = $options{address} // '127.0.0.' . $next_host++;
	my $contract = $options{contract} // "tstzrange('2020-01-01', NULL)";
	my $bits = $address =~ /:/ ? 128 : 32;
	$node->policy($db, "SELECT biometric.register_party('$name', 'party $name', $contract)");
	$node->policy($db, "SELECT biometric.register_network('$address/$bits', '$name')");
	$node->policy($db, "SELECT biometric.authorize('$name', $_)")
	  foreach @{ $options{permits} // [] };
	return $address;
}

sub session
{
	my ($address, $purpose, %options) = @_;
	return $node->connect_from($address, $db, 'officer', $purpose, %options);
}

# What a query from an address gives: "open", "sealed", a reason, or what else.
sub outcome
{
	my ($address, $purpose, $sql) = @_;
	my $wire = ref $address ? $address : session($address, $purpose);
	my $mark = $node->mark($db);
	my $result = $wire->query($sql // 'SELECT img FROM traveller WHERE id = 1');
	if ($result->error)
	{
		return $result->message if $result->sqlstate ne '42501';
		return 'refused with rows' if $result->row_count;
		my ($entry) = $node->refusals($db, $mark);
		return 'refused without an entry' unless $entry;
		return reason_of($entry);
	}
	my ($value) = $result->column(0);
	return 'nothing' unless defined $value;
	return 'sealed' if is_sealed($value);
	my $bytes = opened($value);
	my ($n) = grep { $bytes eq numbered_jpeg($_, 1000) } 1 .. 50;
	return defined $n ? 'open' : 'something else';
}

sub reason_of { my ($entry) = @_; return $entry->{reason}; }

# A refusal in all its parts. expected: { address, purpose, reason, party, sql }.
sub refuses
{
	my (%expected) = @_;
	my $wire = session($expected{address}, $expected{purpose});
	foreach my $sql (@{ $expected{sql} // ['SELECT img FROM traveller'] })
	{
		my $mark = $node->mark($db);
		my $result = $wire->query($sql);
		# Asked at once: the entry must have been durable before the error was sent.
		my ($entry, @more) = $node->refusals($db, $mark);
		is($result->sqlstate, '42501', "$sql is refused");
		is($result->row_count + $result->count('d'), 0, 'and gives nothing');
		like($result->message, qr/face/, 'the message names the kind');
		my $named = $expected{party} // $expected{address};
		like($result->message, qr/\Q$named\E/, "and $named");
		ok(length($result->detail // ''), 'a detail: ' . ($result->detail // ''));
		like($result->hint // '', qr/^[A-Z].*\.$/s, 'a hint: ' . ($result->hint // ''));
		is(scalar @more, 0, 'one entry');
		is(reason_of($entry), $expected{reason}, "its reason is $expected{reason}");
		is($entry->{kind}, 'face', 'its kind');
		is($entry->{client_addr}, $expected{address}, 'its address');
		is($entry->{session_user_name}, 'officer', 'its user');
		is($entry->{party}, $expected{party}, 'its party');
		is($wire->query('SELECT 1')->value, 1, 'the session goes on');
	}
	return;
}

my @paths = (
	'SELECT img FROM traveller',
	'SELECT * FROM traveller',
	'SELECT img::bytea FROM traveller',
	'SELECT t FROM traveller t',
	'SELECT to_json(t) FROM traveller t',
	'TABLE face_view',
	'SELECT face_of(1)',
	'COPY traveller TO STDOUT',
	'COPY (SELECT img FROM traveller) TO STDOUT',
	'SELECT count(img) FROM traveller',
	'SELECT biometric.width(img) FROM traveller',
	'DECLARE c CURSOR WITH HOLD FOR SELECT img FROM traveller',
	'CREATE TEMP TABLE mine AS SELECT img FROM traveller',
	'INSERT INTO asylum SELECT id + 1000, img FROM traveller',
	'EXPLAIN ANALYZE SELECT img FROM traveller',
	q{DO $$ BEGIN PERFORM img FROM public.traveller; END $$});

party('agency', address => OFFICE, permits => [q{'{face,plate}', 'open', '{border_control}'}]);

subtest 'a client on an authorised network with a permitted purpose is served' => sub {
	is(outcome(OFFICE, 'border_control'), 'open', 'face');
	is(outcome(OFFICE, 'border_control', 'SELECT plate FROM traveller WHERE id = 2'),
		'open', 'plate');
};

subtest 'a client whose network is not registered is refused on every path' => sub {
	refuses(
		address => '127.0.0.77',
		purpose => 'border_control',
		reason => 'unregistered_network',
		sql => \@paths);
	is(outcome('127.0.0.77', undef), 'unregistered_network', 'also without a purpose');
	my $wire = session('127.0.0.77');
	is($wire->query('SELECT id FROM traveller')->row_count, 50, 'other columns are readable');
	is($wire->query('INSERT INTO asylum (id) VALUES (2000)')->error, undef, 'and tables writable');
};

subtest 'the entry of a refusal survives the ROLLBACK of its transaction' => sub {
	my $wire = session('127.0.0.77');
	my $mark = $node->mark($db);
	$wire->query('BEGIN READ ONLY; SAVEPOINT s');
	is($wire->query('SELECT img FROM traveller')->sqlstate, '42501', 'refused');
	$wire->query('ROLLBACK');
	is(scalar(my @entries = $node->refusals($db, $mark)), 1, 'one entry');
};

subtest 'a refusal caught by a function is recorded all the same' => sub {
	my $wire = session('127.0.0.77');
	my $mark = $node->mark($db);
	is($wire->query(<<'END')->error, undef, 'the function goes on');
DO $$ BEGIN PERFORM img FROM public.traveller;
EXCEPTION WHEN insufficient_privilege THEN NULL; END $$
END
	is(scalar(my @entries = $node->refusals($db, $mark)), 1, 'one entry');
};

subtest 'a party whose contract is over, or has not begun, is refused' => sub {
	my $permits = [q{'{face}', 'open'}];
	refuses(
		address =>
		  party('late', contract => "tstzrange('2020-01-01', '2021-01-01')", permits => $permits),
		purpose => 'p',
		reason => 'contract_expired',
		party => 'late');
	refuses(
		address => party('early', contract => "tstzrange('2200-01-01', NULL)", permits => $permits),
		purpose => 'p',
		reason => 'contract_expired',
		party => 'early');
};

subtest 'a party is refused from the moment its contract ends' => sub {
	my $address = party(
		'ending',
		permits => [q{'{face}', 'open'}],
		contract => q{tstzrange('2020-01-01', clock_timestamp() + '500 ms')});
	my $wire = session($address, 'p');
	ok(poll_until(sub { outcome($wire) eq 'contract_expired' }), 'in a running session');
};

subtest 'a quarantined party is refused at once, and served again when reinstated' => sub {
	my $address = party('shut', permits => [q{'{face}', 'open'}]);
	my $wire = session($address, 'p');
	is(outcome($wire), 'open', 'before');
	$node->policy($db, q{SELECT biometric.quarantine('shut', 'incident 7')});
	refuses(address => $address, purpose => 'p', reason => 'quarantined', party => 'shut');
	is(outcome($wire), 'quarantined', 'in a session that was there before');
	$node->policy($db, q{SELECT biometric.reinstate('shut', 'closed')});
	is(outcome($wire), 'open', 'reinstated');
};

subtest 'a party is refused kinds without a permit, and served those with one' => sub {
	my $address = party('plates', permits => [q{'{plate}', 'open'}]);
	refuses(address => $address, purpose => 'p', reason => 'no_permit', party => 'plates');
	is(outcome($address, 'p', 'SELECT plate FROM traveller'), 'open', 'plates');
	is(outcome($address, 'p', 'SELECT plate, img FROM traveller'), 'no_permit', 'not both');
	is(outcome(party('nothing'), 'p'), 'no_permit', 'without any permit');
	is( outcome(
			party('was', permits => [q{'{face}', 'open', valid => tstzrange(NULL, '2021-01-01')}]),
			'p'),
		'no_permit',
		'with a permit that is over');
};

subtest 'a permit that says refuse refuses, whatever others say' => sub {
	my $address = party('barred', permits => [ q{'{face}', 'open'}, q{'{face}', 'refuse'} ]);
	refuses(address => $address, purpose => 'p', reason => 'refused_by_permit', party => 'barred');
};

subtest 'a permit that asks for TLS serves no connection without' => sub {
	my $address = party(
		'tls',
		address => '127.0.0.1',
		permits => [q{'{face}', 'open', require_tls => true}]);
	refuses(address => $address, purpose => 'p', reason => 'tls_required', party => 'tls');
	my $connstr =
		'hostaddr=127.0.0.1 user=officer dbname=postgres port='
	  . $node->port
	  . q{ options='-c biometric_audit.purpose=p'};
	my ($status, $out, $err) = $node->psql(
		$db,
		'SELECT img FROM traveller WHERE id = 1',
		connstr => "$connstr sslmode=disable");
	like($err, qr/TLS/, 'refused without TLS');
	is($out, '', 'with nothing');
	($status, $out, $err) = $node->psql(
		$db,
		'SELECT img FROM traveller WHERE id = 1',
		connstr => "$connstr sslmode=require");
	is($err, '', 'no error with TLS');
	ok($out =~ /^\\x/ && opened($out) eq numbered_jpeg(1, 1000), 'and the picture');
};

subtest 'a session that declared no purpose gets sealed values and one notice why' => sub {
	my $wire = session(OFFICE);
	my $first = $wire->query('SELECT img FROM traveller');
	ok(is_sealed($first->value), 'sealed');
	my @notices = $first->notices;
	is(scalar @notices, 1, 'one notice');
	like($notices[0]{M} . ($notices[0]{H} // ''), qr/biometric_audit\.purpose/, 'that says how');
	is(scalar($wire->query('SELECT img FROM traveller')->notices), 0, 'once a session');
	is( outcome(
			$wire, undef,
			q{SET biometric_audit.purpose = 'border_control'; SELECT img FROM traveller}),
		'open',
		'open when it is declared in the session');
	is(outcome($wire, undef, 'RESET biometric_audit.purpose; SELECT img FROM traveller'),
		'sealed', 'sealed when it is reset');
	is( outcome(
			$wire, undef, q{BEGIN; SET LOCAL biometric_audit.purpose = 'border_control';
				SELECT img FROM traveller; ROLLBACK}),
		'open',
		'open while it is set for a transaction');
	is(outcome($wire), 'sealed', 'and sealed after it');
};

subtest 'a purpose that the permit does not list is refused' => sub {
	refuses(
		address => OFFICE,
		purpose => 'marketing',
		reason => 'purpose_not_permitted',
		party => 'agency');
	is(outcome(party('any', permits => [q{'{face}', 'open', NULL}]), 'marketing'),
		'open', 'NULL permits any');
	is(outcome(party('none', permits => [q{'{face}', 'open', '{}'}]), 'marketing'),
		'purpose_not_permitted', 'an empty list permits none');
};

subtest 'a purpose set by ALTER ROLE, ALTER DATABASE or in a file does not count' => sub {
	# custodians alone may set our settings so
	$node->sql($db, 'GRANT biometric_custodian TO CURRENT_USER');
	foreach my $target ('ROLE officer', "DATABASE $db", "ROLE officer IN DATABASE $db", 'ROLE ALL')
	{
		$node->sql($db, "ALTER $target SET biometric_audit.purpose = 'border_control'");
		my $wire = session(OFFICE);
		is($wire->query('SHOW biometric_audit.purpose')->value,
			'border_control', "ALTER $target sets it");
		is(outcome($wire), 'sealed', 'but it does not count');
		$node->sql($db, "ALTER $target RESET biometric_audit.purpose");
	}
	$node->set('biometric_audit.purpose', 'border_control');
	is(outcome(OFFICE), 'sealed', 'nor from the configuration file');
	$node->set('biometric_audit.purpose', undef);
	my $wire =
	  session(OFFICE, undef, params => { options => '-c biometric_audit.purpose=border_control' });
	is(outcome($wire), 'open', 'the client may set it by its options');
	$node->sql($db, 'REVOKE biometric_custodian FROM CURRENT_USER');
};

subtest 'an image whose key is not there is refused, the others are served' => sub {
	$node->write_keyring($node->fresh_key(1) . $node->fresh_key(2));
	$node->settle;
	$node->sql($db,
		'INSERT INTO traveller VALUES (51, numbered_jpeg(51, 1000)::biometric.face_image)');
	$node->write_keyring($node->fresh_key(1));
	$node->settle;
	is(outcome(OFFICE, 'border_control', 'SELECT img FROM traveller WHERE id = 51'),
		'key_unavailable', 'without its key');
	is(outcome(OFFICE, 'border_control'), 'open', 'others');
	unlink $node->keyring_path;
	$node->settle;
	refuses(address => OFFICE, purpose => 'border_control', reason => 'key_unavailable');
	$node->write_keyring($node->fresh_key(1));
	$node->settle;
	is(outcome(OFFICE, 'border_control'), 'open', 'when the keyring is back');
	$node->sql($db, 'DELETE FROM traveller WHERE id = 51');
};

subtest 'a sealed value that came in from outside opens only for who may read its table' => sub {
	my $sealed = session(OFFICE)->query('SELECT img FROM traveller WHERE id = 1')->value;
	my $wire = session(OFFICE, 'border_control');
	my $literal = "SELECT '$sealed'::biometric.face_image";
	is(outcome($wire, undef, $literal), 'open', 'for the officer, who may');
	is( outcome($wire, undef, "SELECT ${_}::biometric.face_image FROM traveller WHERE id = 1"),
		'open',
		"through $_")
	  foreach ('img::text', 'img::bytea');
	isnt(
		outcome(
			$wire, undef, 'SELECT img::text::biometric.plate_image FROM traveller WHERE id = 1'),
		'open',
		'not as another kind');

	$node->sql($db, 'REVOKE SELECT ON traveller FROM officer');
	is($wire->extended('INSERT INTO asylum VALUES (3000, $1)', params => [$sealed])->error,
		undef, 'it is accepted from who may not');
	is(outcome($wire, undef, 'SELECT img FROM asylum WHERE id = 3000'), 'sealed', 'in a table');
	is(outcome($wire, undef, 'SELECT img::bytea FROM asylum WHERE id = 3000'),
		'sealed', 'cast to bytea');
	is(outcome($wire, undef, $literal), 'sealed', 'as a literal');
	is(outcome($wire, undef, "${literal}::bytea"), 'sealed', 'as a literal, cast');
	is(outcome($wire, undef, "$literal, id FROM asylum"),
		'sealed', 'beside a table that the client may read');
	is(outcome($wire, undef, "$literal, 'asylum'::regclass"), 'sealed', 'beside the name of one');
	$node->sql($db, 'GRANT SELECT ON traveller TO officer');
	is(outcome($wire, undef, 'SELECT img FROM asylum WHERE id = 3000'),
		'open', 'until who reads it may read that table as well');
	$node->sql($db, 'DELETE FROM asylum WHERE id >= 1000');
};

subtest 'a database without a ledger slot releases nothing' => sub {
	$node->sql($db, 'CREATE DATABASE one; ');
	my $bad = 0;
	foreach my $name (qw(one two three))
	{
		$node->sql($db, "CREATE DATABASE $name") unless $name eq 'one';
		$node->sql($name, 'CREATE EXTENSION biometric_audit');
		$node->sql($name, 'CREATE TABLE t (img biometric.face_image); GRANT SELECT ON t TO PUBLIC');
		my $result = $node->connect_from(OFFICE, $name, 'officer', 'p')->query('SELECT img FROM t');
		is($result->sqlstate, '42501', "$name refuses");
		$bad++ if ($result->detail // '') =~ /ledger/i;
	}
	is($bad, 1, 'the last for want of a ledger');
	$node->leave($_) foreach qw(one two three);
	$node->sql($db, "DROP DATABASE $_") foreach qw(one two three);
};

subtest 'with nothing registered nobody is served, nor the superuser on the unix socket' => sub {
	$node->sql($db, 'CREATE DATABASE bare');
	$node->sql('bare', 'CREATE EXTENSION biometric_audit');
	$node->sql('bare', 'CREATE TABLE t (img biometric.face_image); INSERT INTO t VALUES (NULL)');
	foreach my $address ('local', '127.0.0.1', OFFICE)
	{
		my $wire = $node->connect_from($address, 'bare', $node->superuser, 'border_control');
		is($wire->query('SELECT img FROM t')->sqlstate, '42501', "refused on $address");
		is($wire->query(q{SELECT biometric.register_party('x', 'x', NULL)})->sqlstate,
			'42501', 'and not a custodian either');
	}
	$node->leave('bare');
};

subtest 'the unix socket is served when it is registered' => sub {
	my $wire = $node->connect_from('local', 'bare', 'custodian');
	is($wire->query($_)->message, undef, $_)
	  foreach (
		q{SELECT biometric.register_party('here', 'here', tstzrange(NULL, NULL))},
		q{SELECT biometric.register_local('here')},
		q{SELECT biometric.authorize('here', '{face}', 'open')});
	$node->sql('bare',
			"INSERT INTO t VALUES (decode('"
		  . unpack('H*', numbered_jpeg(3, 1000))
		  . "', 'hex')::biometric.face_image)");
	my $local = $node->connect_from('local', 'bare', $node->superuser, 'p');
	is(fingerprint(opened($local->query('SELECT img FROM t WHERE img IS NOT NULL')->value)),
		fingerprint(numbered_jpeg(3, 1000)), 'opened');
	is( $node->connect_from(OFFICE, 'bare', $node->superuser, 'p')->query('SELECT img FROM t')
		  ->sqlstate,
		'42501',
		'a network is not thereby');
};

subtest 'IPv6 clients are known by their own networks' => sub {
	plan skip_all => 'this machine has no IPv6' unless has_ipv6();
	is(outcome('::1', 'p'), 'unregistered_network', 'refused');
	party('six', address => '::1', permits => [q{'{face}', 'open'}]);
	is(outcome('::1', 'p'), 'open', 'served');
};

subtest 'an address of this host is matched by its own /32 only' => sub {
	$node->policy($db,
		q{SELECT biometric.register_party('wide', 'all of loopback', tstzrange(NULL, NULL))});
	$node->policy($db, q{SELECT biometric.authorize('wide', '{face}', 'open')});
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->query("SELECT biometric.register_network('$_', 'wide')")
	  foreach qw(127.0.0.0/8 0.0.0.0/0 127.0.0.60/31);
	is(outcome('127.0.0.61', 'p'), 'unregistered_network', 'not by a wider network');
	my $result = $wire->query(q{SELECT biometric.register_network('127.0.0.61/32', 'wide')});
	is($result->error, undef, 'a /32 may be registered');
	my ($warning) = grep { $_->{V} eq 'WARNING' } $result->notices;
	ok($warning, 'with a warning: ' . ($warning ? $warning->{M} : 'none'));
	is(outcome('127.0.0.61', 'p'), 'open', 'and serves');
	party('narrow', address => '127.0.0.62', permits => [q{'{face}', 'refuse'}]);
	is(outcome('127.0.0.62', 'p'), 'refused_by_permit', 'the longest prefix decides');
};

subtest 'a column that becomes an image is guarded in sessions and plans there before' => sub {
	my $wire = session('127.0.0.77', 'p');
	$node->sql($db,
		'CREATE TABLE later (id int); INSERT INTO later VALUES (1); GRANT SELECT ON later TO officer'
	);
	$node->sql(
		$db, 'CREATE VIEW later_view AS SELECT NULL::biometric.face_image AS img FROM later;
		GRANT SELECT ON later_view TO officer');
	$wire->query(
		'PREPARE whole AS SELECT to_json(l) FROM later l; PREPARE view AS SELECT img FROM later_view'
	);
	is($wire->query("EXECUTE $_")->row_count, 1, "$_ is read before") foreach qw(whole view);
	$node->sql(
		$db, 'ALTER TABLE later ADD COLUMN img biometric.face_image;
		UPDATE later SET img = (SELECT img FROM traveller LIMIT 1);
		CREATE OR REPLACE VIEW later_view AS SELECT img FROM later');
	is(outcome($wire, undef, "EXECUTE $_"), 'unregistered_network', "$_ is refused after")
	  foreach qw(whole view);
	is($wire->query('SELECT id FROM later')->value, 1, 'other columns are not');
};

subtest 'observe releases without a purpose and enters each image as observed' => sub {
	my $address = party('observed', permits => [q{'{face}', 'observe', '{border_control}'}]);
	foreach my $purpose (undef, 'border_control', 'marketing')
	{
		my $mark = $node->mark($db);
		is(outcome($address, $purpose), 'open', 'open');
		my ($entry, @more) = $node->records($db,
			"SELECT * FROM biometric.ledger WHERE seq >= $mark AND event IN ('observed', 'disclosed')"
		);
		is($entry->{event}, 'observed', 'observed');
		is($entry->{party}, 'observed', 'by the party');
		is(scalar @more, 0, 'once');
	}
};

subtest 'delivery sealed gives sealed values whatever the purpose' => sub {
	my $address = party('backup', permits => [q{'{face}', 'sealed'}]);
	is(outcome($address, $_), 'sealed', defined $_ ? "purpose $_" : 'no purpose')
	  foreach (undef, 'border_control');
	is(outcome($address, 'p', 'SELECT img::bytea FROM traveller'), 'sealed', 'cast to bytea');
};

subtest 'enforcement = observe lets through what would be refused, and records why' => sub {
	$node->set('biometric_audit.enforcement', 'observe');
	$node->policy($db, q{SELECT biometric.quarantine('shut', 'again')});
	my $shut = $node->sql($db, q{SELECT host(network) FROM biometric.network WHERE party = 'shut'});
	my $mark = $node->mark($db);
	is(outcome('127.0.0.77'), 'open', 'an unregistered network is let through');
	my ($entry) = $node->records($db,
		"SELECT * FROM biometric.disclosure WHERE seq >= $mark AND event = 'observed'");
	is(reason_of($entry), 'unregistered_network', 'and recorded with its reason');
	is(outcome($shut), 'quarantined', 'who was cut off is refused all the same');
	$mark = $node->mark($db);
	is(outcome(OFFICE, 'border_control'), 'open', 'what is permitted');
	is($node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark"),
		1, 'is a disclosure as ever');
	$node->set('biometric_audit.enforcement', undef);
	is(outcome('127.0.0.77'), 'unregistered_network', 'enforced again, it is refused');
};

subtest 'a permit for a relation serves that relation only' => sub {
	my $address = party('scoped', permits => [q{'{face}', 'open', relation => 'traveller'}]);
	is(outcome($address, 'p'), 'open', 'the relation');
	is(outcome($address, 'p', 'SELECT img FROM face_view'), 'open', 'through a view');
	is(outcome($address, 'p', 'SELECT img FROM asylum'), 'no_permit', 'not another');
	is( outcome(
			$address, 'p',
			'SELECT t.img FROM traveller t JOIN asylum a USING (id) WHERE a.img IS NOT NULL'),
		'no_permit',
		'not both together');
};

subtest 'the most specific permit wins' => sub {
	my $address = party('exceptions',
		permits => [ q{'{face}', 'open'}, q{'{face}', 'refuse', relation => 'asylum'} ]);
	is(outcome($address, 'p'), 'open', 'the general permit');
	is(outcome($address, 'p', 'SELECT img FROM asylum'), 'refused_by_permit', 'the exception');
	$address = party('mostly',
		permits => [ q{'{face}', 'refuse'}, q{'{face}', 'open', relation => 'asylum'} ]);
	is(outcome($address, 'p'), 'refused_by_permit', 'the general refusal');
	is(outcome($address, 'p', 'SELECT img FROM asylum'), 'open', 'the exception');
};

subtest 'a permit for a partitioned or inherited table covers its parts' => sub {
	my $address = party('lanes',
		permits =>
		  [ q{'{face}', 'open', relation => 'lane'}, q{'{face}', 'open', relation => 'parent'} ]);
	is(outcome($address, 'p', "SELECT img FROM $_"), 'open', $_)
	  foreach (qw(lane lane_low lane_high parent child), 'ONLY parent');
	$address = party('low', permits => [q{'{face}', 'open', relation => 'lane_low'}]);
	is(outcome($address, 'p', 'SELECT img FROM lane_low'), 'open', 'a permit for a partition');
	is(outcome($address, 'p', 'SELECT img FROM lane'), 'no_permit', 'does not cover the whole');
};

subtest 'a permit for a part wins over that for the whole, also when the whole is read' => sub {
	my $address = party(
		'parts',
		permits => [
			q{'{face}', 'open', relation => 'lane'},
			q{'{face}', 'refuse', relation => 'lane_high'},
			q{'{face}', 'open', relation => 'parent'},
			q{'{face}', 'sealed', relation => 'child'}
		]);
	is(outcome($address, 'p', 'SELECT img FROM lane_low'), 'open', 'the other part');
	is(outcome($address, 'p', 'SELECT img FROM lane_high'), 'refused_by_permit', 'the part');
	is(outcome($address, 'p', 'SELECT img FROM lane'), 'refused_by_permit', 'through the whole');
	is(outcome($address, 'p', 'SELECT img FROM child'), 'sealed', 'a child');
	is(outcome($address, 'p', 'SELECT img FROM parent'), 'sealed', 'through its parent');
	is(outcome($address, 'p', 'SELECT img FROM ONLY parent'), 'open', 'the parent alone');
};

subtest 'a permit granted takes effect at the next statement of a running transaction' => sub {
	my $address = party('new');
	my $wire = session($address, 'p');
	foreach my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		$wire->query("BEGIN ISOLATION LEVEL $level; SELECT 1; SAVEPOINT s");
		is(outcome($wire), 'no_permit', "$level: before");
		$wire->query('ROLLBACK TO s');
		my $permit = $node->policy($db, q{SELECT biometric.authorize('new', '{face}', 'open')});
		is(outcome($wire), 'open', 'granted');
		$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
		is(outcome($wire), 'no_permit', 'revoked');
		$wire->query('ROLLBACK');
	}
};

subtest 'a policy change that is not committed has no effect on anybody' => sub {
	my $address = party('maybe');
	my $custodian = $node->connect_from('local', $db, 'custodian');
	$custodian->query(q{BEGIN; SELECT biometric.authorize('maybe', '{face}', 'open')});
	is(outcome($address, 'p'), 'no_permit', 'while it is open');
	$custodian->query('ROLLBACK');
	is(outcome($address, 'p'), 'no_permit', 'when it is rolled back');
	$custodian->query(
		q{BEGIN; SAVEPOINT s; SELECT biometric.authorize('maybe', '{face}', 'open');
		ROLLBACK TO s; COMMIT});
	is(outcome($address, 'p'), 'no_permit', 'when its savepoint is rolled back');
	$custodian->query(q{SELECT biometric.authorize('maybe', '{face}', 'open')});
	is(outcome($address, 'p'), 'open', 'committed, it has');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a prepared statement does not outlive a revoked permit' => sub {
	my $address = party('plans');
	my $wire = session($address, 'p');
	$wire->query('SET plan_cache_mode = force_generic_plan');
	foreach my $round (1, 2)
	{
		my $permit = $node->policy($db, q{SELECT biometric.authorize('plans', '{face}', 'open')});
		$wire->send_parse('s', 'SELECT img FROM traveller WHERE id = $1') if $round == 1;
		my $execute = sub {
			$wire->send_bind('', 's', params => [1], results => [BINARY]);
			$wire->send_execute('');
			$wire->send_sync;
			return $wire->drain;
		};
		is($execute->()->value, numbered_jpeg(1, 1000), 'served') for 1 .. 3;
		$node->policy($db, "SELECT biometric.revoke($permit, 'round $round')");
		my $result = $execute->();
		is($result->sqlstate, '42501', 'refused');
		is($result->row_count, 0, 'with nothing');
	}
};

subtest 'a suspended portal cannot outlive a revoked permit or a quarantine' => sub {
	my $address = party('portals', permits => [q{'{face}', 'open', '{p}'}]);
	my %change = (
		quarantine => [
			q{SELECT biometric.quarantine('portals', 'x')},
			q{SELECT biometric.reinstate('portals', 'x')}
		],
		revoke => [
			q{SELECT biometric.revoke(max(id), 'x') FROM biometric.permit},
			q{SELECT biometric.authorize('portals', '{face}', 'open', '{p}')}
		]);
	foreach my $what (sort keys %change)
	{
		my $permit = $node->sql($db, 'SELECT max(id) FROM biometric.permit');
		my $wire = session($address, 'p');
		$wire->query('BEGIN');
		$wire->send_parse('', 'SELECT img FROM traveller');
		$wire->send_bind('c', '', results => [BINARY]);
		$wire->send_execute('c', 5);
		$wire->send_flush;
		is($wire->collect(until => 's')->row_count, 5, 'some rows');
		$node->policy($db, $change{$what}[0]);
		$wire->send_execute('c', 5);
		$wire->send_sync;
		my $result = $wire->drain;
		is($result->sqlstate, '42501', "refused after $what");
		is($result->row_count, 0, 'with nothing');
		$wire->query('ROLLBACK');
		$node->policy($db, $change{$what}[1]);
		is(outcome($wire), 'open', 'and served again');
	}
};

subtest 'a quarantine stops a running statement within one batch' => sub {
	my $batch = 16;
	my $address = party('stream', permits => [q{'{face}', 'open'}]);
	$node->sql(
		$db,
		q{CREATE TABLE crowd AS SELECT n AS id, numbered_jpeg(n, 20000)::biometric.face_image AS img
		FROM generate_series(1, 1500) AS n; GRANT SELECT ON crowd TO officer});
	my $wire = session($address, 'p', receive_buffer => 4096);
	my $pid = $wire->pid;
	my $mark = $node->mark($db);
	$wire->send_parse('', 'SELECT id, img FROM crowd ORDER BY id');
	$wire->send_bind('', '', results => [ 0, BINARY ]);
	$wire->send_execute('');
	$wire->send_sync;
	my $result = $wire->collect(rows => 20);
	ok( poll_until(
			sub {
				$node->sql($db,
					"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'ClientWrite'"
				);
			}),
		'the server waits for the client');
	$node->policy($db, q{SELECT biometric.quarantine('stream', 'now')});
	$result->add($wire->drain);
	is($result->sqlstate, '42501', 'the statement ends with a refusal');
	cmp_ok($result->row_count, '<', 1500, 'in the middle');
	my ($changed) =
	  $node->sql($db, "SELECT max(seq) FROM biometric.ledger WHERE event = 'policy_changed'");
	my $sent = $node->sql($db,
		"SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark AND seq < $changed");
	my $after = $node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq > $changed");
	cmp_ok($after, '<=', $batch, 'at most one batch was promised after the quarantine');
	cmp_ok($result->row_count, '<=', $sent + $after, 'and all that arrived is in the ledger');
	my @wrong = grep { $_->[1] ne numbered_jpeg($_->[0], 20000) } $result->rows;
	is(scalar @wrong, 0, 'what arrived is right');
	is(reason_of(($node->refusals($db, $mark))[0]), 'quarantined', 'the refusal is entered');
	is($wire->query('SELECT 1')->value, 1, 'the session goes on');
};

subtest 'every change of policy is an entry, and only custodians make them' => sub {
	my @changes = (
		q{SELECT biometric.register_party('ink', 'Ink Ltd', tstzrange(NULL, NULL))},
		q{SELECT biometric.register_network('192.0.2.0/24', 'ink')},
		q{SELECT biometric.register_network('2001:db8::/32', 'ink')},
		q{SELECT biometric.authorize('ink', '{plate}', 'open')},
		q{SELECT biometric.quarantine('ink', 'a reason')},
		q{SELECT biometric.reinstate('ink', 'a reason')},
		q{SELECT biometric.revoke((SELECT max(id) FROM biometric.permit), 'a reason')});
	foreach my $sql (@changes)
	{
		foreach my $other ($node->superuser, 'officer', 'auditor')
		{
			my $result = $node->connect_from('local', $db, $other)->query($sql);
			is($result->sqlstate, '42501', "$other may not: $sql");
		}
		my $mark = $node->mark($db);
		my $wire = $node->connect_from('local', $db, 'custodian');
		is($wire->query($sql)->message, undef, "a custodian may: $sql");
		my @entries = grep { $_ ne 'session' } split /, /, $node->events($db, $mark);
		is("@entries", 'policy_changed', 'and it is one entry');
	}
	my $quarantine = $node->sql(
		$db, q{SELECT detail FROM biometric.ledger WHERE event = 'policy_changed'
		AND detail::text LIKE '%a reason%' LIMIT 1});
	like($quarantine, qr/ink/, 'which says what was changed');
};

subtest 'a change of policy is neither prepared nor lost' => sub {
	my $address = party('phases');
	my $custodian = $node->connect_from('local', $db, 'custodian');
	my $result = $custodian->query(
		q{BEGIN; SELECT biometric.authorize('phases', '{face}', 'open'); PREPARE TRANSACTION 'x'});
	is($result->sqlstate, '0A000', 'a transaction with it cannot be prepared');
	is(outcome($address, 'p'), 'no_permit', 'and has had no effect');
	$node->restart;
	is(outcome(OFFICE, 'border_control'), 'open', 'after a restart the policy is as it was');
	is(outcome($address, 'p'), 'no_permit', 'in every respect');
};

subtest 'the ledger follows a session that changes its user, its name or its purpose' => sub {
	$node->sql($db,
		'CREATE ROLE deputy; GRANT deputy TO officer; GRANT SELECT ON traveller TO deputy');
	my $address = party('changes', permits => [q{'{face}', 'open'}]);
	my $wire = session($address);
	my $mark = $node->mark($db);
	foreach my $change (
		q{SET biometric_audit.purpose = 'one'},
		q{SET biometric_audit.purpose = 'two'},
		q{SET application_name = 'desk'},
		'SET ROLE deputy')
	{
		$wire->query($change);
		is(outcome($wire), 'open', $change);
	}
	my @said = map { ($_->{application} // '-') . " $_->{purpose}" }
	  $node->records($db, "SELECT * FROM biometric.disclosure WHERE seq >= $mark ORDER BY seq");
	my ($name) = split / /, $said[0];
	is_deeply(
		\@said,
		[ "$name one", "$name two", 'desk two', 'desk two' ],
		'application and purpose');
	my $current = $node->sql($db, <<"END");
SELECT string_agg(coalesce((biometric.decode_entry(biometric.leaf(statement))).current_user_name,
	session_user_name), ' ' ORDER BY seq)
FROM biometric.disclosure WHERE seq >= $mark
END
	is($current, 'officer officer officer deputy', 'the current user');
	is( $node->sql(
			$db,
			"SELECT string_agg(DISTINCT session_user_name, ' ') FROM biometric.disclosure WHERE seq >= $mark"
		),
		'officer',
		'and the user of the session');
};

subtest 'a purpose is a short line of text' => sub {
	my $wire = session(OFFICE);
	is($wire->query("SET biometric_audit.purpose = $_")->sqlstate,
		'22023', 'not ' . substr($_, 0, 20))
	  foreach (q{E'two\nlines'}, q{E'a\tb'}, "'" . 'x' x 201 . "'");
	is($wire->query(q{SET biometric_audit.purpose = '  border_control '})->message,
		undef, 'spaces around it');
	is(outcome($wire), 'open', 'do not count');
	is( $wire->query(q{SELECT set_config('biometric_audit.purpose', 'marketing', false)})->message,
		undef, 'set_config');
	is(outcome($wire), 'purpose_not_permitted', 'is no way round');
	$wire->query(
		q{CREATE FUNCTION pg_temp.f(OUT biometric.face_image) LANGUAGE sql
		SET biometric_audit.purpose = 'border_control' AS 'SELECT img FROM public.traveller WHERE id = 1'}
	);
	is(outcome($wire, undef, 'SELECT pg_temp.f()'),
		'purpose_not_permitted', 'nor the settings of a function');
};

subtest 'explain_access says of a session what its reads will then do' => sub {
	my %kinds = map { $_ => 1 } qw(face plate document fingerprint iris);
	foreach my $case (
		[ OFFICE, 'border_control' ],
		[ OFFICE, undef ],
		[ OFFICE, 'marketing' ],
		[ '127.0.0.77', 'p' ],
		[ '127.0.0.61', 'p' ],
		[ 'local', undef ])
	{
		my ($address, $purpose) = @$case;
		my $wire = session($address, $purpose);
		my @rows =
		  $wire->query('SELECT kind, delivery, reason FROM biometric.explain_access()')->rows;
		is(scalar(grep { $kinds{ $_->[0] } } @rows), 5, 'a row a kind');
		my ($face) = grep { $_->[0] eq 'face' } @rows;
		my $outcome = outcome($wire);
		my $name = "$address, " . ($purpose // 'no purpose');
		if    ($outcome eq 'open')   { is($face->[1], 'open', "$name: open"); }
		elsif ($outcome eq 'sealed') { is($face->[1], 'sealed', "$name: sealed"); }
		else { is("$face->[1] $face->[2]", "refuse $outcome", "$name: $outcome"); }
	}
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();

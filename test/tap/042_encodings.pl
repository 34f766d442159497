# Whatever encoding a database has, and whatever bytes its names are, its entries are
# UTF-8: server, program and views say the same, and a dump that goes to a
# database of another encoding is still the history that it was.

use strict;
use warnings;

use Encode     ();
use File::Find ();
use IPC::Run   ();
use JSON::PP   ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(read_file);
use BiometricAudit::Node    qw(poll_until);

use constant { OFFICE => '127.0.0.2', ALWAYS => q{tstzrange('2026-01-01', NULL)}, PICTURES => 300 };

# What is said in each database: its encoding, the client's, the words as the client writes
# them, and as entries have them. The bytes of this file are UTF-8.
my %speech = (
	latin => {
		encoding => 'LATIN1', encode => 'iso-8859-1', client => 'UTF8',
		party => 'Zürich', role => 'zöllner', purpose => 'Prüfung', table => 'bilder_ä',
		key => 'Straße', name => 'Jürg Müller', site => 'Genève' },
	euc => {
		encoding => 'EUC_JP', encode => 'euc-jp', client => 'UTF8',
		party => '東京', role => '税関', purpose => '検査', table => '写真',
		key => '鍵', name => '山田太郎', site => '大阪' },
	raw => {
		encoding => 'SQL_ASCII', client => 'SQL_ASCII',
		party => "Z\xfcrich", role => "j\xfcrg", purpose => "Pr\xfcfung", table => "bilder_\xe4",
		key => "\xff\xc3", name => "Andr\xe9 \xe2\x82\xac", site => "Gen\xe8ve" });

# As entries have it: what is not UTF-8 is escaped.
sub recorded
{
	my ($bytes) = @_;
	$bytes =~ s/(\xe2\x82\xac|[\xc3-\xc5][\x80-\xbf]|[\xe3-\xe9][\x80-\xbf]{2}|[\x00-\x7f])|(.)/
		defined $1 ? $1 : sprintf '\\x%02X', ord $2/gse;
	return $bytes;
}

# login(words): the role as the catalog has it, and so a client that is about to connect.
sub login
{
	my ($say) = @_;
	return $say->{role} unless $say->{encode};
	return Encode::encode($say->{encode}, Encode::decode('UTF-8', $say->{role}));
}

my $place = PostgreSQL::Test::Utils::tempdir();
my $log = BiometricAudit::Archive->key('agency.example/ledger');
my $json = JSON::PP->new;    # of bytes: no text is decoded
my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$log->{directory}/key'\nbiometric_audit.max_databases = 20\n"
	  . "max_worker_processes = 40\nbiometric_audit.replication_database = 'latin'\n", allows_streaming => 1);
$node->append_conf('pg_hba.conf', 'host replication all 127.0.0.0/8 trust');
$node->settle;
my $super = $node->superuser;

# ask(database, user, text): the first value of the last row, in the encoding of its words.
sub ask
{
	my ($db, $user, $text) = @_;
	my $wire = $node->connect_from('local', $db, $user, undef,
		params => { client_encoding => $speech{$db}{client} // 'UTF8' });
	my $result = $wire->query($text);
	$wire->close;
	die "$text: " . $result->message . ' ' . ($result->detail // '') if $result->error;
	my @rows = $result->rows;
	return @rows ? $rows[-1][0] : undef;
}

# report(database, name, arguments): exit code and output of biometric-report.
sub report
{
	my ($db, $name, @arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'biometric-report', $node->connstr($db) . ' user=auditor',
			'--key', ask($db, 'auditor', q{SELECT convert_from(convert_to(biometric.verifier_key(), 'UTF8'), 'UTF8')}),
			@arguments, '--output', "$place/$name" ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return ($? >> 8, "$out$err");
}

sub entries_of
{
	my ($archive) = @_;
	my $bytes = '';
	File::Find::find({ no_chdir => 1, wanted => sub { $bytes .= read_file($_) if -f && m{/entries/} } }, $archive);
	return $bytes;
}

# ---------------------------------------------------------------- what is said there

foreach my $db (sort keys %speech)
{
	my $say = $speech{$db};
	$node->sql('postgres',
		"CREATE DATABASE $db ENCODING '$say->{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->prepare($db);
	ask($db, 'custodian', $_) foreach (
		"SELECT biometric.register_party('$say->{party}', 'party $say->{party}', tstzrange('2020-01-01', NULL))",
		"SELECT biometric.register_network('${\OFFICE}/32', '$say->{party}')",
		"SELECT biometric.authorize('$say->{party}', '{face}', 'open', '{$say->{purpose}}')");
	ask($db, $super, $_) foreach (
		qq{CREATE ROLE "$say->{role}" LOGIN},
		qq{CREATE TABLE "$say->{table}" (id int, "$say->{key}" text, name text, site text, face biometric.face_image,
			PRIMARY KEY (id, "$say->{key}"))},
		qq{GRANT SELECT ON "$say->{table}" TO "$say->{role}"},
		qq{SELECT biometric.describe_collection('"$say->{table}"', '{name}', '{site}')},
		qq{INSERT INTO "$say->{table}" SELECT n, '$say->{key}', '$say->{name}', '$say->{site}',
			numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, ${\PICTURES}) n});
	my $wire = $node->connect_from(OFFICE, $db, login($say), undef,
		params => { client_encoding => $say->{client}, application_name => $say->{name} });
	my @results = ($wire->query("SET biometric_audit.purpose = '$say->{purpose}'"),
		$wire->query(qq{SELECT face FROM "$say->{table}"}));
	is(join(' ', map { $_->message // '' } @results), ' ', "$db: pictures are released");
	$wire->close;
}

sub checks
{
	my ($db, $say) = @_;
	my %has = map { $_ => recorded($say->{$_}) } grep { !/encod|client/ } keys %$say;
	is(ask($db, 'auditor', 'SELECT ok FROM biometric.verify_ledger()'), 't', 'the ledger verifies');
	is(ask($db, 'auditor', <<"END"), PICTURES, 'the view has every word, in the encoding of the database');
SELECT count(*) FROM biometric.ledger WHERE event = 'disclosed' AND party = '$has{party}'
	AND session_user_name = '$has{role}' AND purpose = '$has{purpose}'
	AND relation = 'public."$has{table}"'
END
	is(ask($db, 'auditor', "SELECT count(*) FROM biometric.affected('$_', ${\ALWAYS}) "
		  . "WHERE (row_key->>'id')::int BETWEEN 1 AND ${\PICTURES} AND row_key->>'$has{key}' = '$has{key}'"),
		PICTURES, 'who asks for the party finds its rows') foreach $say->{party}, $has{party};
	is(ask($db, 'auditor', "SELECT disclosures FROM biometric.breach_report('$say->{party}', ${\ALWAYS}) "
		  . "WHERE dimension = 'place' AND value::jsonb->>'site' = '$has{site}'"), PICTURES, 'the place is counted');
	is(ask($db, 'auditor', "SELECT string_agg(taken::text, ' ') FROM biometric.breach_report('$say->{party}', ${\ALWAYS}) "
		  . "WHERE dimension IN ('relation', 'authorization')"), 'true true', 'what was taken is not listed as untaken as well');
	is(ask($db, 'auditor', "SELECT sum(disclosures) FROM biometric.activity_by_hour('$say->{party}', ${\ALWAYS}) "
		  . "WHERE login = '$has{role}'"), PICTURES, 'so is every hour');
	return %has;
}

foreach my $db (sort keys %speech)
{
	my $say = $speech{$db};
	subtest "$say->{encoding}: views, functions and the program agree" => sub {
		my %has = checks($db, $say);
		my $incident = ask($db, 'custodian', "SELECT biometric.open_incident('$say->{party}', ${\ALWAYS}, 'words')");
		is(ask($db, 'custodian', "SELECT biometric.mark_notified($incident, ARRAY(SELECT subject FROM biometric.notify_list($incident)), 'letter')"),
			1, 'people are told');
		is(ask($db, 'auditor', "SELECT subject->>'name' FROM biometric.notify_list($incident) WHERE notified_at IS NOT NULL"),
			$has{name}, 'by their names');
		my ($code, $said) = report($db, $db, '--party', $has{party}, '--from', '2026-01-01', '--to', '2100-01-01');
		is($code, 0, 'biometric-report finds the same figures') or diag $said;
		my $bytes = entries_of("$place/$db/ledger");
		ok(index($bytes, $has{$_}) >= 0, "entries have the $_ as UTF-8") foreach qw(party role purpose);
		ok(index($bytes, $has{$_} =~ s/\\/\\\\/gr) >= 0, "and the $_, in JSON") foreach qw(name key);
		unlike($bytes, qr/[^\xc3]\xfcrich|[^\x80-\xff]\xc5\xec/, 'and no other bytes of it');
		($code, $said) = report($db, "$db.incident", '--incident', $incident, '--archive', "$place/$db/ledger");
		is($code, 0, 'of an incident, too') or diag $said;
	};
}

# ---------------------------------------------------------------- a database of another encoding

subtest 'a role with bytes of another encoding blinds nothing' => sub {
	my $db = 'postgres';
	$node->prepare($db);
	$node->register($db, 'office', OFFICE . '/32', '{face}', 'open', '{test}');
	$node->sql($db, $_) foreach (
		'CREATE TABLE face (id int PRIMARY KEY, face biometric.face_image)',
		q{INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, 300) n},
		'GRANT SELECT ON face TO PUBLIC');
	foreach my $role (map { login($speech{$_}) } qw(raw latin))
	{
		my $wire = $node->connect_from(OFFICE, $db, $role, 'test');
		is($wire->query('SELECT face FROM face')->message // '', '', 'it reads');
		$wire->close;
	}
	is(ask($db, 'auditor', <<'END'), 'j\xFCrg z\xF6llner', 'its name is in the ledger, with escapes');
SELECT string_agg(DISTINCT session_user_name, ' ') FROM biometric.ledger WHERE event = 'disclosed'
END
	is(ask($db, 'auditor', "SELECT string_agg(value, ' ') FROM biometric.breach_report('office', ${\ALWAYS}) WHERE dimension = 'login'"),
		'j\xFCrg z\xF6llner', 'and in the report');
	ok($node->verifies($db), 'the ledger verifies');
	my ($code, $said) = report($db, 'role', '--party', 'office', '--from', '2026-01-01', '--to', '2100-01-01');
	is($code, 0, 'the program agrees') or diag $said;
};

subtest 'who has no database yet is put on record by the name that his party has' => sub {
	my $db = 'latin';
	my $party = 'Äußere';
	ask($db, 'custodian', $_) foreach (
		"SELECT biometric.register_party('$party', 'replicas', tstzrange('2020-01-01', NULL))",
		"SELECT biometric.register_network('127.0.0.3/32', '$party')",
		"SELECT biometric.authorize('$party', '{face,plate,document,fingerprint,iris}', 'sealed')");
	my $login = "replica_\xe4";
	ask('raw', $super, "CREATE ROLE \"$login\" LOGIN REPLICATION");
	my $wire = $node->connect_from('127.0.0.3', 'postgres', $login, undef, params => { replication => 'true' });
	$wire->close;
	is(ask($db, 'auditor', <<"END"), 1, 'in its database that party is found');
SELECT count(*) FROM biometric.ledger WHERE event = 'replication' AND party = '$party'
	AND session_user_name = 'replica_\\xE4'
END
	ok($node->verifies($db), 'the ledger verifies');
};

# ---------------------------------------------------------------- dumps

sub at { return ('-h', $node->host, '-p', $node->port, '-U', $super); }

# carried(from, database, encoding): restores a dump there, and adopts its ledger.
sub carried
{
	my ($from, $db, $encoding) = @_;
	$node->leave($from);
	my (undef, $errors) = run_command([ 'pg_dump', at(), '-d', $from, '-f', "$place/$db.sql" ]);
	is($errors, '', 'it is dumped');
	$node->sql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	(undef, $errors) = run_command([ 'psql', '-X', '-q', at(), '-d', $db, '-o', '/dev/null', '-f', "$place/$db.sql" ]);
	is($errors, '', 'and restored');
	ask($db, 'custodian', 'SELECT biometric.fork_ledger($$für das Register$$)');
	is(ask($db, $super, 'SELECT count(*) = count(adopted_at) FROM biometric.log WHERE ordinal IS NULL'),
		't', 'its ledger is adopted');
	return;
}

foreach my $from (qw(latin euc))
{
	my $say = $speech{$from};
	my $db = "${from}_utf8";
	ask('postgres', $super, qq{CREATE ROLE "$say->{role}"});    # a grant names it, here as UTF-8
	subtest "a dump of $say->{encoding} is history in UTF8, and back again" => sub {
		carried($from, $db, 'UTF8');
		is(ask($db, 'auditor', 'SELECT ok FROM biometric.verify_ledger()'), 't', 'it verifies');
		is(ask($db, 'auditor', "SELECT count(*) FROM biometric.affected('$say->{party}', ${\ALWAYS}) WHERE row_key->>'$say->{key}' = '$say->{key}'"),
			PICTURES, 'who asks for the party finds its rows');
	};
}

subtest 'a dump of UTF8 is history in LATIN1, as far as that has the characters' => sub {
	my $say = $speech{latin};
	ask('latin_utf8', 'custodian', $_) foreach (
		q{SELECT biometric.register_party('house', 'the server itself', tstzrange('2020-01-01', NULL))},
		q{SELECT biometric.register_local('house')},
		q{SELECT biometric.authorize('house', '{face}', 'sealed')});
	carried('latin_utf8', 'latin_again', 'LATIN1');
	is(ask('latin_again', 'auditor', 'SELECT ok FROM biometric.verify_ledger()'), 't', 'it verifies');
	is(ask('latin_again', 'auditor', "SELECT count(*) FROM biometric.affected('$say->{party}', ${\ALWAYS})"),
		PICTURES, 'who asks for the party finds its rows');
};

$node->stop;
done_testing();

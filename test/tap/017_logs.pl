# What the server writes down about statements shows no picture: a canary in
# literals, parameters, broken lines and error messages is neither in the log,
# in any of its formats, nor in what pg_stat_statements keeps - whoever else
# was loaded before or after, and whatever the settings ask for.

use strict;
use warnings;

use File::Find   ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(poll_until);
use BiometricAudit::Picture qw(jpeg any_form);

use constant { OFFICE => '127.0.0.2', TEXT_OID => 25 };

my $canary = 'Canary/Elster-am-Nest/5c1D8e';
my $db = 'postgres';

# A picture, and a text that is longer than what may be shown, the canary everywhere in it.
my $raw = join ' ', map { "$canary $_" } 1 .. 60;
my $picture = jpeg(64, 48, $raw);
my %form = (
	raw => $raw,
	hex => '\x' . unpack('H*', $picture),
	base64 => encode_base64($picture, ''),
	lines => encode_base64($picture));

my $any_form = any_form($canary);

# ---------------------------------------------------------------- what is done

sub simple
{
	my (@statements) = @_;
	return sub {
		my ($client) = @_;
		return map { $client->query($_) } @statements;
	};
}

# copy(table, line): COPY with one line that does not fit.
sub copy
{
	my ($table, $line) = @_;
	return sub {
		my ($client) = @_;
		$client->send_query("COPY $table FROM STDIN");
		$client->collect(until => 'GZ');
		return $client->send_message('d', "$line\n")->send_message('c')->drain;
	};
}

sub extended
{
	my ($statement, @parameters) = @_;
	return sub {
		my ($client) = @_;
		return $client->extended($statement, params => \@parameters);
	};
}

# Each case: its name, what is done, and the SQLSTATE that it ends with.
my @cases = (
	map({
			my $form = $_;
			my $literal = $form{$form};
			(   [ "an INSERT of a literal, $form", simple("INSERT INTO note (body) VALUES ('$literal')") ],
				[ "a literal that breaks a constraint, $form",
					simple("INSERT INTO short (body) VALUES ('$literal')"), '23514' ],
				[ "a literal of the wrong type, $form", simple("SELECT '$literal'::int"), '22P02' ],
				[ "a literal before a syntax error, $form", simple("SELECT '$literal' FROM FROM"), '42601' ],
				[ "a literal that does not end, $form", simple("SELECT '$literal"), '42601' ],
				[ "a literal in PREPARE and EXECUTE, $form",
					simple("PREPARE p AS SELECT '$literal'", 'EXECUTE p', 'DEALLOCATE p') ],
				[ "a parameter of EXECUTE, $form",
					simple('PREPARE q (text) AS SELECT $1::int', "EXECUTE q ('$literal')"), '22P02' ],
				[ "a literal in DO, $form", simple("DO \$do\$ BEGIN PERFORM '$literal'::text; END \$do\$") ],
				[ "an error inside of DO, $form",
					simple("DO \$do\$ BEGIN PERFORM '$literal'::int; END \$do\$"), '22P02' ],
				[ "an error of a statement that DO puts together, $form",
					simple("DO \$do\$ BEGIN EXECUTE 'SELECT ' || quote_literal('$literal') || '::int';"
						. " END \$do\$"), '22P02' ],
				[ "a user's own RAISE LOG, $form",
					simple("DO \$do\$ BEGIN RAISE LOG '%', '$literal'; END \$do\$") ],
				[ "a user's own RAISE with detail and hint, $form",
					simple("DO \$do\$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = '$literal',"
						. " HINT = '$literal'; END \$do\$"), 'P0001' ],
				[ "a duplicate key, $form",
					simple("INSERT INTO keyed VALUES ('$literal')", "INSERT INTO keyed VALUES ('$literal')"),
					'23505' ],
				[ "a comment on a table, $form", simple("COMMENT ON TABLE note IS '$literal'") ],
				[ "a default of a column, $form",
					simple("ALTER TABLE note ALTER body SET DEFAULT '$literal'",
						'ALTER TABLE note ALTER body DROP DEFAULT') ],
				[ "a text parameter, $form", extended('INSERT INTO note (body) VALUES ($1)', $literal) ],
				[ "a text parameter that is no number, $form", extended('SELECT $1::int', $literal), '22P02' ],
				[ "a text parameter that breaks a constraint, $form",
					extended('INSERT INTO short (body) VALUES ($1)', $literal), '23514' ],
				[ "a literal by the extended protocol, $form", extended("SELECT '$literal'::text") ],
				[ "a utility statement by the extended protocol, $form",
					extended("COMMENT ON TABLE note IS '$literal'") ],
				[ "a literal in a cursor, $form",
					simple("BEGIN; DECLARE c CURSOR FOR SELECT '$literal'::text; FETCH c; COMMIT") ],
				[ "a literal among several statements, $form",
					simple("SELECT 1; SELECT '$literal'::text; SELECT '$literal'::int"), '22P02' ],
			)
		} qw(raw hex base64 lines)),
	[ 'a literal with escapes', simple("SELECT E'it\\'s $form{raw}'::int"), '22P02' ],
	[ 'a literal behind an apostrophe in a comment',
		simple("SELECT /* it's */ '$form{raw}'::text -- it's") ],
	[ 'a literal behind an apostrophe in a name', simple(qq{SELECT 1 AS "it's", '$form{raw}'::text}) ],
	[ 'a literal without a space', simple("SELECT'$form{raw}'::text") ],
	[ 'a national literal', simple("SELECT N'$form{raw}'::text") ],
	[ 'a literal with Unicode escapes', simple("SELECT U&'$form{raw}'::text") ],
	[ 'a dollar-quoted literal', simple("SELECT \$it\$it's $form{raw}\$it\$::text") ],
	[ 'hexadecimal digits of a bit string', simple("SELECT X'" . unpack('H*', $raw) . "'") ],
	[ 'a picture', simple("INSERT INTO face (img) VALUES ('$form{hex}')") ],
	[ 'a picture from base64',
		simple("INSERT INTO face (img) VALUES (decode('$form{base64}', 'base64'))") ],
	[ 'a picture that is none', simple("INSERT INTO face (img) VALUES ('$form{raw}')"), '22P02' ],
	[ 'a function with a picture', simple("CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql"
			. " AS \$f\$ SELECT '$form{raw}'::text \$f\$", 'SELECT f()') ],
	[ 'a view with a picture', simple("CREATE OR REPLACE VIEW v AS SELECT '$form{raw}'::text AS body",
			'SELECT * FROM v') ],
	[ 'a broken line of COPY', copy('numbers', $form{raw}), '22P02' ],
	[ 'a broken line of COPY, hex', copy('numbers', unpack('H*', $raw)), '22P02' ],
	[ 'a line of COPY with too many columns', copy('numbers', "1\t$form{raw}"), '22P04' ],
	[ 'a line of COPY that breaks a constraint', copy('short', "1\t$form{raw}"), '23514' ],
	[ 'broken json', simple("SELECT '{\"a\": \"$form{raw}\" \"'::json"), '22P02' ],
	[ 'a RAISE of 100 kB', simple("DO \$do\$ BEGIN RAISE LOG '%', repeat('$raw', 50); END \$do\$") ],
	[ 'a division by zero beside a parameter',
		extended('SELECT $1::text, 1 / $2::int', $raw, 0), '22012' ],
	[ 'a short parameter', extended('SELECT $1::text, 1 / $2::int', $canary, 0), '22012' ],
	[ 'a short parameter of an INSERT', extended('INSERT INTO note (body) VALUES ($1)', $canary) ],
);

# ---------------------------------------------------------------- what is found

sub contents
{
	my (@paths) = @_;
	my $all = '';
	foreach my $path (@paths)
	{
		open my $file, '<:raw', $path or next;
		local $/ = undef;
		$all .= <$file> // '';
		CORE::close $file;
	}
	return $all;
}

sub files_below
{
	my (@folders) = @_;
	my @files;
	File::Find::find({ no_chdir => 1, wanted => sub { push @files, $_ if -f } }, grep { -d } @folders);
	return @files;
}

# logged(node): the log so far, by format.
sub logged
{
	my ($node) = @_;
	return map { $_ => contents(glob $node->data_dir . "/log/*.$_") } qw(log csv json);
}

# section(log, n): what was logged between two marks.
sub section
{
	my ($log, $n) = @_;
	my $next = $n + 1;
	return $log =~ /mark-$n-begin(.*?)mark-$next-begin/s ? $1 : undef;
}

sub mark { return "DO \$mark\$ BEGIN RAISE LOG 'mark-$_[0]-begin'; END \$mark\$"; }

# ---------------------------------------------------------------- servers

my $settings = <<'END';
logging_collector = on
log_destination = 'stderr,csvlog,jsonlog'
log_statement = all
log_duration = on
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
log_min_error_statement = debug5
compute_query_id = on
track_activity_query_size = 16kB
pg_stat_statements.track = top
pg_stat_statements.track_utility = on
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
pgaudit.log = 'all'
pgaudit.log_parameter = on
END

my $node = BiometricAudit::Node->create('clerk', conf => $settings);
$node->prepare($db);
my @others = grep {
	my $name = $_;
	$name eq 'auto_explain'
	  || $node->sql($db, "SELECT count(*) FROM pg_available_extensions WHERE name = '$name'");
} qw(auto_explain pg_stat_statements pgaudit);
note("loaded beside: @others");

$node->sql($db, $_) foreach (
	'CREATE TABLE note (id serial, body text)',
	'CREATE TABLE short (id serial, body text CHECK (length(body) < 100))',
	'CREATE TABLE keyed (body text PRIMARY KEY)',
	'CREATE TABLE numbers (n int)',
	'CREATE TABLE face (id serial, img biometric.face_image)',
	'GRANT ALL ON ALL TABLES IN SCHEMA public TO officer',
	'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO officer');

# preload(libraries): starts the server with them, in this order.
sub preload
{
	my (@libraries) = @_;
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = '" . join(',', @libraries) . "'");
	$node->restart;
	$node->sql($db, 'CREATE EXTENSION IF NOT EXISTS ' . $_)
	  foreach grep { !/auto_explain|audit/ } @libraries;
	return;
}

# perform(order, case): a case's own session, so that it is the first of one.
sub perform
{
	my ($order, $n) = @_;
	my ($name, $action, $sqlstate) = @{ $cases[$n] };
	my $client = $node->connect_from(OFFICE, $db, $node->superuser);
	$client->query(mark($n));
	my @results = $action->($client);
	my ($error) = map { $_->sqlstate } grep { $_->error } @results;
	is($error, $sqlstate, "$order: $name: " . ($sqlstate // 'no error'));
	$client->close;
	return;
}

sub leaks
{
	my ($text) = @_;
	return 'not logged' unless defined $text;
	return $text =~ /(.{0,200}$any_form.{0,100})/s ? "shows $1" : 'shows nothing';
}

sub examine
{
	my ($order) = @_;
	my $client = $node->connect_from(OFFICE, $db, $node->superuser);
	my $end = scalar @cases;
	$client->query(mark($end));
	my %log;
	poll_until(sub { %log = logged($node); return !grep { !/mark-$end-begin/ } values %log; });
	foreach my $n (0 .. $#cases)
	{
		is(leaks(section($log{$_}, $n)), 'shows nothing', "$order: $cases[$n][0]: $_")
		  foreach sort keys %log;
	}
	$client->close;
	like($log{log}, qr/INSERT INTO note \(body\) VALUES \('<\d+ bytes>'\)/,
		"$order: the statement is still logged, with the length of what was cut");
	like($log{log}, qr/parameters not shown/, "$order: parameters are named, not shown");
	return;
}

sub empty_logs { unlink glob $node->data_dir . '/log/*'; return; }

foreach my $order ([ 'first', 'biometric_audit', @others ], [ 'last', @others, 'biometric_audit' ])
{
	my ($where, @libraries) = @$order;
	empty_logs();
	preload(@libraries);
	perform("loaded $where", $_) foreach 0 .. $#cases;
	examine("loaded $where");

  SKIP:
	{
		skip 'pg_stat_statements is not installed', 3 unless grep { /stat_statements/ } @libraries;
		my @kept = map { $_->{query} } $node->records($db, 'SELECT query FROM pg_stat_statements');
		ok(scalar(grep { /INSERT INTO note/ } @kept),
			"loaded $where: pg_stat_statements has the statements");
		is(leaks(join "\n", @kept), 'shows nothing', "loaded $where: pg_stat_statements");
		$node->stop;
		my $stored = contents(files_below(map { $node->data_dir . "/$_" } qw(pg_stat pg_stat_tmp)));
		is(leaks($stored), 'shows nothing', "loaded $where: files of statistics");
		$node->start;
	}
}

# ---------------------------------------------------------------- what others see

my $client = $node->connect_from(OFFICE, $db, $node->superuser);
my $pid = $client->pid;
my $admin = $node->admin($db);

sub activity
{
	my ($row) = $node->records($db,
		"SELECT query, query_id, state, query_start <= state_change AS sane"
		  . " FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'PgSleep'");
	return $row;
}

# A statement that is asleep: what it shows, and what it answers.
sub watched
{
	my ($name, $send) = @_;
	my $row;
	$send->();
	poll_until(sub { return $row = activity(); });
	is(leaks($row->{query}), 'shows nothing', "$name: pg_stat_activity");
	like($row->{query} // '', qr/pg_sleep/, "$name: the rest of the statement is there");
	ok($row->{query_id}, "$name: the query id is kept");
	is($row->{state}, 'active', "$name: it is active");
	ok($row->{sane}, "$name: its times are sane");
	$admin->query("SELECT pg_cancel_backend($pid)");
	is($client->drain->sqlstate, '57014', "$name: cancelled");
	return;
}

my $sleep = "SELECT pg_sleep(600), '$raw'::text";
watched('a simple query', sub { $client->send_query($sleep) });
watched('the second of two', sub { $client->send_query("SELECT '$raw'::text; $sleep") });
watched('the extended protocol',
	sub {
		$client->send_parse('', $sleep);
		$client->send_bind('', '');
		$client->send_execute('');
		$client->send_sync;
	});
$client->send_parse('kept', $sleep);
$client->send_sync;
$client->drain;
foreach my $time (1 .. 2)
{
	watched("a prepared statement, time $time",
		sub { $client->send_bind('', 'kept'); $client->send_execute(''); $client->send_sync; });
}

# ---------------------------------------------------------------- nothing else changes

sub answers
{
	my ($name, $expected, @statements) = @_;
	my $result;
	$result = $client->query($_) foreach @statements;
	return is(($result->column(0))[-1], $expected, $name) || diag $result->message // 'no error';
}

my $md5 = $node->sql($db, "SELECT md5('$raw')");
answers('a literal arrives as it was sent', $md5, "SELECT md5('$raw')");
answers('a literal of the last of several statements',
	$md5, "SELECT 1; SELECT 2; SELECT md5('$raw')");
answers('a body of a function', $md5,
	"CREATE FUNCTION g() RETURNS text LANGUAGE sql AS \$f\$ SELECT '$raw'::text \$f\$",
	'SELECT md5(g())');
answers('a body of a function of SQL', $md5,
	"CREATE FUNCTION h() RETURNS text BEGIN ATOMIC SELECT '$raw'::text; END", 'SELECT md5(h())');
answers('a view', $md5, "CREATE VIEW w AS SELECT '$raw'::text AS body", 'SELECT md5(body) FROM w');
answers('a rule', $md5,
	'CREATE TABLE ruled (a text)',
	"CREATE RULE r AS ON INSERT TO ruled DO INSTEAD INSERT INTO note (body) VALUES ('$raw')",
	"INSERT INTO ruled VALUES ('x')",
	'SELECT md5(body) FROM note ORDER BY id DESC LIMIT 1');
answers('a statement that is planned again after its table changed', $md5,
	'CREATE TABLE changing (a int)', 'INSERT INTO changing VALUES (1)',
	"PREPARE again AS SELECT md5('$raw'), * FROM changing",
	'EXECUTE again', 'ALTER TABLE changing ALTER a TYPE bigint', 'CREATE INDEX ON changing (a)',
	'DEALLOCATE again', "PREPARE again AS SELECT md5('$raw') FROM changing",
	'ALTER TABLE changing ADD b int', 'EXECUTE again');
answers('a cursor', $md5,
	'BEGIN', "DECLARE c CURSOR FOR SELECT md5('$raw')", 'FETCH c');
$client->query('COMMIT');
answers('PL/pgSQL', $md5,
	"DO \$do\$ BEGIN INSERT INTO note (body) VALUES ('$raw'); END \$do\$",
	'SELECT md5(body) FROM note ORDER BY id DESC LIMIT 1');
is($client->extended("SELECT md5('$raw')")->value, $md5, 'the extended protocol');

# ---------------------------------------------------------------- other databases

$node->sql($db, 'CREATE DATABASE elsewhere');
empty_logs();
$node->restart;
my $other = $node->connect_from(OFFICE, 'elsewhere', $node->superuser);
$other->query('CREATE TABLE own (a int)');
$other->query('SELECT count(*) FROM own');
$other->query("SELECT '" . ('plain ' x 100) . "'");
$other->query(mark(0));
my %log;
poll_until(sub { %log = logged($node); return $log{log} =~ /mark-0-begin/; });
like($log{log}, qr/(?:plain ){100}/, 'the log of a database without the extension is as it was');

done_testing();

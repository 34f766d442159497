# Ways round the gates, each of which once led to a picture or to a written
# policy: what was closed stays closed, and what is permitted stays open. Every
# picture holds a canary, which no answer to an attack may show in any form.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(jpeg any_form);

use constant { OFFICE => '127.0.0.2', LOOPBACK => '127.0.0.1', TEXT => 0, BINARY => 1 };

# Where a sealed image has its key id, its flags, its stamp and its ciphertext.
use constant { KEY_ID => 12, IMAGE_ID => 32, FLAGS => 208, STAMP => 216, CIPHERTEXT => 232 };

my $canary = 'Canary+/Fuchs-im-Hafen/2e8B4d';
my $node = BiometricAudit::Node->create(
	'warden',
	allows_streaming => 'logical',
	conf => "max_connections = 40\nmax_worker_processes = 16\n");
my $db = 'postgres';
my $super = $node->superuser;
$node->prepare($db);

# ---------------------------------------------------------------- pictures

my %label_of;    # by the bytes of a picture
my %id_of;       # image ids by label

# The n-th picture of a table; those of one table are of one length.
sub picture
{
	my ($table, $n) = @_;
	my $bytes = jpeg(64, 48, sprintf("%s %s %05d ", $canary, $table, $n) x 4);
	$label_of{$bytes} = "$table $n";
	return $bytes;
}

# enrol(table, numbers) puts pictures into a table's columns id and img.
sub enrol
{
	my ($table, @numbers) = @_;
	my $admin = $node->admin($db);
	$admin->send_query("COPY $table (id, img) FROM STDIN");
	$admin->collect(until => 'GZ');
	$admin->send_message('d',
		join '', map { "$_\t\\\\x" . unpack('H*', picture($table, $_)) . "\n" } @numbers);
	my $result = $admin->send_message('c')->drain;
	die "$table: " . $result->message if $result->error;
	$id_of{"$table $_->{id}"} = $_->{image_id}
	  foreach $node->records($db, "SELECT id, biometric.image_id(img) FROM $table");
	return;
}

# table(name, delivery, count): a table of pictures, with a permit of its own if
# a delivery is given. Returns the permit's id.
sub table
{
	my ($name, $delivery, $count) = @_;
	$node->sql($db, "CREATE TABLE $name (id int PRIMARY KEY, img biometric.face_image)");
	$node->sql($db, "GRANT ALL ON $name TO officer");
	enrol($name, 1 .. $count // 3);
	return permit($name, $delivery) if $delivery;
	return;
}

# permit(relation, delivery): what the agency may receive of a relation.
sub permit
{
	my ($relation, $delivery) = @_;
	my $arguments = "'agency', '{face}', '$delivery', NULL, '$relation'";
	return $node->policy($db, "SELECT biometric.authorize($arguments)");
}

# ---------------------------------------------------------------- what came of it

my $any_form = any_form($canary);

# All that the server said in an exchange.
sub shown
{
	my ($result) = @_;
	return join "\n", map {
		my $message = $_;
		(   @{ $message->{values} // [] },
			values %{ $message->{fields} // {} },
			map { $message->{$_} } qw(body tag value))
	} $result->messages;
}

# An answer that holds the canary in no form.
sub shows_nothing
{
	my ($name, $result) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(shown($result) !~ $any_form, "$name: no picture");
}

# A value in words: "NULL", "sealed", "traveller 3", or "bytes" for any other.
sub seen
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	return 'sealed' if is_sealed($value);
	return $label_of{ $value =~ /^\\x/ ? opened($value) : $value } // 'bytes';
}

# The allowed case: the first column is just these.
sub gives
{
	my ($name, $result, @expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply([ map { seen($_) } $result->column(0) ], \@expected, $name)
	  || diag $result->message // 'no error';
}

# The attack: nothing but sealed values in the first column, or an error and no row.
sub closed
{
	my ($name, $result, $sqlstate) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->sqlstate, $sqlstate, "$name: " . ($sqlstate // 'no error'))
	  || diag $result->message // 'no error';
	my %seen = map { seen($_) => 1 } $result->column(0);
	my $expected = $sqlstate ? 'no row' : 'sealed';
	is(join(', ', sort keys %seen) || 'no row', $expected, "$name: $expected");
	return shows_nothing($name, $result);
}

# What was entered as released since a mark: label => relation.
sub entered
{
	my ($mark) = @_;
	my %label = reverse %id_of;
	return {
		map { ($label{ $_->{image_id} } // 'unknown') => $_->{relation} } $node->records(
			$db, "SELECT image_id, relation FROM biometric.disclosure WHERE seq >= $mark")
	};
}

sub officer
{
	my (%options) = (user => 'officer', purpose => 'border_control', @_);
	return $node->connect_from(OFFICE, $db, $options{user}, $options{purpose});
}

# What is allowed throughout.
my $control = 'SELECT img FROM traveller WHERE id = 1';
my $cast = 'SELECT img::bytea FROM traveller WHERE id = 1';

# The agency may have faces of every table, but of witness sealed, and of asylum none.
$node->register($db, 'agency', OFFICE . '/32', '{face,plate}', 'open', '{border_control}');
$node->policy($db, "SELECT biometric.register_network('" . LOOPBACK . "/32', 'agency')");
table($_) foreach qw(traveller desk);
my $sealed_permit = table('witness', 'sealed');
my $refuse_permit = table('asylum', 'refuse');

foreach my $table (qw(traveller witness asylum))
{
	$node->sql($db, <<"END");
CREATE FUNCTION ${table}_safe(n int) RETURNS biometric.face_image LANGUAGE plpgsql STABLE
	PARALLEL SAFE AS 'BEGIN RETURN (SELECT img FROM public.$table WHERE id = n); END';
CREATE FUNCTION ${table}_constant() RETURNS biometric.face_image LANGUAGE plpgsql IMMUTABLE
	AS 'BEGIN RETURN (SELECT img FROM public.$table WHERE id = 1); END';
CREATE FUNCTION ${table}_lazily() RETURNS SETOF biometric.face_image LANGUAGE sql VOLATILE
	AS 'SELECT img FROM public.$table ORDER BY id';
END
}

subtest 'the search finds a picture in each form, and the permits hold without an attack' => sub {
	my $bytes = picture('traveller', 1);
	my @base64 = map { encode_base64(('?' x $_) . $bytes, '') } 0 .. 2;
	my $hex = unpack('H*', $bytes);
	like($_, $any_form, 'a form') foreach ($bytes, $hex, uc $hex, @base64);
	my $wire = officer();
	gives('open', $wire->query('SELECT img FROM traveller'), map { "traveller $_" } 1 .. 3);
	like(shown($wire->query('SELECT img FROM traveller')), $any_form, 'and seen');
	closed('a permit for sealed values', $wire->query('SELECT img FROM witness'));
	closed('a permit that refuses', $wire->query('SELECT img FROM asylum'), '42501');
};

subtest 'a function cannot read images inside of a parallel worker' => sub {
	my $parallel =
	  $node->sql($db, q{SELECT name FROM pg_settings WHERE name ~ '^(force|debug)_parallel_'});
	my $wire = officer();
	my $is_parallel = sub {
		like(join(' ', $wire->query("EXPLAIN $_[0]")->column(0)), qr/Gather/, "parallel: $_[0]");
	};
	gives('in its own process', $wire->query('SELECT traveller_safe(2)'), 'traveller 2');
	closed('of a sealed table', $wire->query('SELECT witness_safe(2)'));
	foreach my $table (qw(traveller witness asylum))
	{
		foreach my $sql ("SELECT ${table}_safe(1)", "SELECT ${table}_safe(id) FROM desk")
		{
			$wire = officer();
			$wire->query("SET $parallel = on");
			$is_parallel->($sql);
			closed($sql, $wire->query($sql), '0A000');
		}
	}
	$wire->query("SET $_ = 0")
	  foreach qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size);
	$is_parallel->('SELECT img FROM traveller');
	my @images = $wire->query('SELECT img FROM traveller')->column(0);
	is(join(', ', sort map { seen($_) } @images), 'traveller 1, traveller 2, traveller 3', 'open');
	closed('but not of a sealed table', $wire->query('SELECT img FROM witness'));
};

$node->sql($db, <<'END');
CREATE FUNCTION next_face(c refcursor) RETURNS biometric.face_image LANGUAGE plpgsql AS
	'DECLARE face biometric.face_image; BEGIN FETCH c INTO face; RETURN face; END';
END

subtest 'images that a function fetches from a cursor are judged by the table of that' => sub {
	my $of_witness = unpack('H*', "$canary witness");
	foreach my $hold ('', 'WITH HOLD')
	{
		my $declare = sub {
			my $wire = officer();
			$wire->query("BEGIN; DECLARE c CURSOR $hold FOR SELECT img FROM $_[0] ORDER BY id");
			$wire->query('COMMIT') if $hold;
			return $wire;
		};
		my $wire = $declare->('traveller');
		gives('a permitted table', $wire->query(q{SELECT next_face('c')}), 'traveller 1');
		gives('cast', $wire->query(q{SELECT next_face('c')::bytea}), 'traveller 2');
		foreach my $sql (
			q{SELECT next_face('c')},
			q{SELECT next_face('c')::bytea},
			q{SELECT next_face('c') FROM desk WHERE id = 1},
			q{SELECT next_face('c') FROM desk WHERE id = 1 AND img IS NOT NULL},
			q{SELECT next_face('c')::bytea, img FROM desk WHERE id = 1})
		{
			my $result = $declare->('witness')->query($sql);
			is(seen($result->value), 'sealed', "$hold $sql");
			ok(shown($result) !~ /$of_witness/, 'shows no picture of witness');
		}
		my $refused = officer()->query("BEGIN; DECLARE c CURSOR $hold FOR SELECT img FROM asylum");
		closed('a refused table', $refused, '42501');
	}
};

subtest 'an image out of a cursor is not entered as one of another table' => sub {
	my $wire = officer();
	$wire->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM traveller ORDER BY id');
	my $mark = $node->mark($db);
	my $result = $wire->query(q{SELECT next_face('c'), img FROM desk WHERE id = 2});
	is_deeply([ map { seen($_) } @{ $result->row(0) } ], [ 'traveller 1', 'desk 2' ], 'both open');
	my %expected = ('traveller 1' => 'public.traveller', 'desk 2' => 'public.desk');
	is_deeply(entered($mark), \%expected, 'each is entered, as one of its own table');
	$mark = $node->mark($db);
	$result = $wire->query(q{SELECT next_face('c') FROM desk WHERE id = 2 AND img IS NOT NULL});
	gives('the other table only in a condition', $result, 'traveller 2');
	is_deeply(entered($mark), { 'traveller 2' => 'public.traveller' }, 'not as a picture of that');
};

subtest 'a function that is folded when the statement is planned opens nothing' => sub {
	my $wire = officer();
	gives('a permitted table', $wire->query('SELECT traveller_constant()'), 'traveller 1');
	gives('cast', $wire->query('SELECT traveller_constant()::bytea'), 'traveller 1');
	foreach my $sql (
		'SELECT witness_constant()',
		'SELECT witness_constant()::bytea',
		'SELECT witness_constant() FROM desk WHERE id = 1')
	{
		my @plan = officer()->query("EXPLAIN VERBOSE $sql")->column(0);
		unlike("@plan", qr/witness_constant/, "folded: $sql");
		closed('simple', officer()->query($sql));
		closed('extended', officer()->extended($sql, results => [BINARY]));
	}
	closed('a refused table', officer()->query('SELECT asylum_constant()'), '42501');
};

subtest 'a plan with an image folded in does not outlive a permit that then refuses' => sub {
	foreach my $delivery ('sealed', 'refuse')
	{
		my $table = "suspect_$delivery";
		table($table);
		$node->sql($db, <<"END");
CREATE FUNCTION ${table}_constant() RETURNS biometric.face_image LANGUAGE plpgsql IMMUTABLE
	AS 'BEGIN RETURN (SELECT img FROM public.$table WHERE id = 1); END'
END
		my $wire = officer();
		my $execute = sub {
			$wire->send_bind('', $_[0])->send_execute('')->send_sync->drain;
		};
		$wire->query('SET plan_cache_mode = force_generic_plan');
		$wire->send_parse('image', "SELECT ${table}_constant()");
		$wire->send_parse('bytes', "SELECT ${table}_constant()::bytea");
		gives("$_ before", $execute->($_), "$table 1") foreach qw(image bytes);
		permit($table, $delivery);
		closed("$_ after $delivery", $execute->($_), $delivery eq 'refuse' ? '42501' : undef)
		  foreach qw(image bytes);
		gives('the session goes on', $wire->query($control), 'traveller 1');
	}
};

subtest 'a portal begun by FETCH and continued by Execute opens nothing it may not' => sub {
	foreach my $begin ('FETCH 1 FROM c', 'MOVE 1 FROM c')
	{
		foreach my $type ('', '::bytea')
		{
			my $continue = sub {
				my $wire = officer();
				$wire->query("BEGIN; DECLARE c CURSOR FOR SELECT $_[0]_lazily()$type");
				my $begun = $wire->query($begin);
				shows_nothing("$begin of $_[0]$type", $begun) if $_[0] eq 'witness';
				return $wire->send_execute('c', 1)->send_execute('c')->send_sync->drain;
			};
			my $mark = $node->mark($db);
			gives('a permitted table', $continue->('traveller'), 'traveller 2', 'traveller 3');
			my $expected = join ', ', map { "traveller $_" } $begin =~ /^FETCH/ ? 1 .. 3 : 2 .. 3;
			is(join(', ', sort keys %{ entered($mark) }), $expected, 'entered');
			closed('a sealed table', $continue->('witness'));
		}
	}
};

# ---------------------------------------------------------------- families of tables

$node->sql($db, <<'END');
CREATE TABLE registry (id int, img biometric.face_image);
CREATE TABLE registry_plain () INHERITS (registry);
CREATE TABLE registry_sealed () INHERITS (registry);
CREATE TABLE ward (id int, img biometric.face_image);
CREATE TABLE ward_refused () INHERITS (ward);
CREATE TABLE lane (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE lane_plain PARTITION OF lane FOR VALUES FROM (0) TO (10);
CREATE TABLE lane_sealed PARTITION OF lane FOR VALUES FROM (10) TO (20);
CREATE TABLE dock (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE dock_refused PARTITION OF dock FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE dock_leaf PARTITION OF dock_refused FOR VALUES FROM (0) TO (5);
CREATE TABLE yard (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE yard_leaf PARTITION OF yard FOR VALUES FROM (0) TO (5);
CREATE TABLE father (id int, img biometric.face_image);
CREATE TABLE mother (id int, img biometric.face_image);
CREATE TABLE daughter () INHERITS (father, mother);
CREATE TABLE son () INHERITS (mother, father);
CREATE TABLE grandson () INHERITS (son);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO officer;
END
enrol($_, 1) foreach qw(registry registry_plain registry_sealed ward ward_refused);
enrol($_, 1) foreach qw(lane_plain dock_leaf yard_leaf father mother daughter son grandson);
enrol('lane_sealed', 11);
permit($_, 'sealed') foreach qw(registry_sealed lane_sealed yard father);
permit($_, 'refuse') foreach qw(ward_refused dock_refused mother);

subtest 'a permit of an heir or a partition counts when it is read through its parent' => sub {
	gives('the parent alone', officer()->query('SELECT img FROM ONLY registry'), 'registry 1');
	gives('another heir', officer()->query('SELECT img FROM registry_plain'), 'registry_plain 1');
	gives('another partition', officer()->query('SELECT img FROM lane_plain'), 'lane_plain 1');
	foreach my $what ('img', 'img::bytea', 'coalesce(img, img)', '(SELECT img)')
	{
		closed("$what of $_, sealed", officer()->query("SELECT $what FROM $_"))
		  foreach qw(registry_sealed lane_sealed);
		closed("$what of $_, refused", officer()->query("SELECT $what FROM $_"), '42501')
		  foreach qw(ward ward_refused dock dock_refused dock_leaf);
	}
	# the column itself says which family it is of, any other expression leaves it to each image's home
	closed("img of $_, sealed", officer()->query("SELECT img FROM $_")) foreach qw(registry lane);
	foreach my $what ('img::bytea', 'coalesce(img, img)', '(SELECT img)')
	{
		gives("$what of registry, each by its home",
			officer()->query("SELECT $what FROM registry ORDER BY tableoid::regclass::text"),
			'registry 1', 'registry_plain 1', 'sealed');
		gives("$what of lane, each by its home",
			officer()->query("SELECT $what FROM lane ORDER BY id"),
			'lane_plain 1', 'sealed');
	}
	closed('in a function', officer()->query(<<'END'), '42501');
CREATE FUNCTION pg_temp.f() RETURNS biometric.face_image LANGUAGE plpgsql AS
	'BEGIN RETURN (SELECT img FROM public.ward WHERE tableoid <> ''ward''::regclass); END';
SELECT pg_temp.f()
END
	closed('in a CTE', officer()->query('WITH w AS (TABLE registry) SELECT img FROM w'));
	gives('its parent alone is not', officer()->query('SELECT img FROM ONLY ward'), 'ward 1');
};

subtest 'a partition without a permit of its own follows the permit of its parent' => sub {
	closed($_, officer()->query("SELECT img FROM $_")) foreach qw(yard yard_leaf);
	my $permit = permit('yard_leaf', 'open');
	gives('but for one of its own', officer()->query('SELECT img FROM yard_leaf'), 'yard_leaf 1');
	closed('that is none for the whole', officer()->query('SELECT img FROM yard'));
	$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
};

subtest 'of two parents of one generation the stricter counts, whatever their order' => sub {
	closed("$_, whose one parent is refused", officer()->query("SELECT img FROM $_"), '42501')
	  foreach qw(daughter son grandson mother);
	my $permit = permit('son', 'open');
	gives('a permit of its own is nearer', officer()->query('SELECT img FROM ONLY son'), 'son 1');
	gives('also for its heir', officer()->query('SELECT img FROM grandson'), 'grandson 1');
	closed('not for its sister', officer()->query('SELECT img FROM daughter'), '42501');
	$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
};

# ---------------------------------------------------------------- writing policy and ledger

# All that a superuser might want to have changed.
sub policy_and_log
{
	return $node->sql($db, <<'END');
SELECT concat((SELECT json_agg(p ORDER BY id) FROM biometric.permit p),
	(SELECT json_agg(p ORDER BY name) FROM biometric.party p),
	(SELECT count(*) FROM biometric.entry WHERE log_id NOT IN (SELECT log_id FROM biometric.log)))
END
}

subtest 'a table of the policy cannot be written through a parent that it was given' => sub {
	my $before = policy_and_log();
	$node->unguarded($db, <<'END');
CREATE TABLE trojan (LIKE biometric.permit);
ALTER TABLE biometric.permit INHERIT trojan;
CREATE TABLE horse (LIKE biometric.party) PARTITION BY LIST (name);
ALTER TABLE horse ATTACH PARTITION biometric.party DEFAULT;
END
	foreach my $sql (
		q{UPDATE trojan SET delivery = 'open'},
		q{UPDATE trojan SET relation = NULL WHERE relation = 'witness'::regclass},
		'DELETE FROM trojan',
		"WITH w AS (DELETE FROM trojan WHERE id = $refuse_permit RETURNING *) TABLE w",
		q{INSERT INTO horse VALUES ('forged', 'nobody', NULL, NULL, NULL, now())},
		q{UPDATE horse SET contract = NULL},
		q{COPY horse FROM PROGRAM 'printf "forged\t\\N\t\\N\t\\N\t\\N\t2026-01-01\n"'})
	{
		is($node->admin($db)->query($sql)->sqlstate, '42501', "refused: $sql");
	}
	is(policy_and_log(), $before, 'nothing has changed');
	$node->unguarded($db, <<'END');
ALTER TABLE biometric.permit NO INHERIT trojan;
ALTER TABLE horse DETACH PARTITION biometric.party;
DROP TABLE trojan, horse;
END
	is(policy_and_log(), $before, 'nothing has changed');
	cmp_ok(permit('witness', 'sealed'), '>', $sealed_permit, 'a custodian goes on writing');
	closed('the permit holds', officer()->query('SELECT img FROM witness'));
};

subtest 'a trigger on a table of the policy cannot write to the ledger' => sub {
	$node->sql($db, <<'END');
CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
	'BEGIN INSERT INTO biometric.entry_00 SELECT log_id, 100000, 0, ''\x00'' FROM biometric.log
		WHERE ordinal IS NOT NULL; RETURN NEW; END';
END
	my $register = q{SELECT biometric.register_party('guest', 'a guest', tstzrange(NULL, NULL))};
	my $before = policy_and_log();
	foreach my $when ('BEFORE', 'AFTER')
	{
		my $trigger = "CREATE TRIGGER forge $when INSERT ON biometric.party FOR EACH ROW";
		$node->unguarded($db, "$trigger EXECUTE FUNCTION forge()");
		my $result = $node->connect_from('local', $db, 'custodian')->query($register);
		is($result->sqlstate, '42501', "$when INSERT");
		is(policy_and_log(), $before, 'neither the ledger nor the policy has changed');
		$node->unguarded($db, 'DROP TRIGGER forge ON biometric.party');
	}
	$node->policy($db, $register);
	isnt(policy_and_log(), $before, 'without the trigger the party is registered');
};

subtest 'a name with line feeds cannot stand for another relation in the ledger' => sub {
	my %evil = (
		qq{evil\npublic.desk\n} => q{public."evil\npublic.desk\n"},
		q{evil\npublic.desk} => q{public."evil\\\\npublic.desk"});
	foreach my $name (sort keys %evil)
	{
		table(qq{"$name"}, undef, 1);
		foreach my $order (qq{"$name" e, traveller t}, qq{traveller t, "$name" e})
		{
			my $mark = $node->mark($db);
			my $result =
			  officer()->query("SELECT e.img, t.img FROM $order WHERE t.id = 1 AND e.id = 1");
			my %expected = (qq{"$name" 1} => $evil{$name}, 'traveller 1' => 'public.traveller');
			my @seen = map { seen($_) } map { @$_ } $result->rows;
			is_deeply(\@seen, [ sort keys %expected ], 'both open');
			is_deeply(entered($mark), \%expected, 'each under the name of its own table');
		}
		permit(qq{"$name"}, 'refuse');
		my $mark = $node->mark($db);
		closed('refused', officer()->query(qq{SELECT img FROM "$name"}), '42501');
		my ($refusal) = $node->refusals($db, $mark);
		isnt($refusal->{relation} // '', 'public.desk', 'nor in a refusal');
	}
};

# ---------------------------------------------------------------- values made by hand

# The sealed bytes of an image, as they are stored.
sub sealed_bytes
{
	my ($table, $n) = @_;
	return opened($node->sql($db, "SELECT biometric.sealed_bytes(img) FROM $table WHERE id = $n"));
}

subtest 'an imported value of an unknown key goes out sealed, and the rest opens' => sub {
	table('incoming', undef, 3);
	my $foreign = sealed_bytes('incoming', 1);
	substr($foreign, KEY_ID, 4) = pack('N', 77);
	$node->run('officer', $db,
		"INSERT INTO incoming VALUES (0, 'sealed:" . encode_base64($foreign, '') . "')");
	foreach my $what ('img', 'img::bytea')
	{
		foreach my $format (TEXT, BINARY)
		{
			my $mark = $node->mark($db);
			my $result =
			  officer()->extended("SELECT $what FROM incoming ORDER BY id", results => [$format]);
			gives("$what in format $format", $result, 'sealed', map { "incoming $_" } 1 .. 3);
			is(scalar keys %{ entered($mark) }, 3, 'each that opens is entered');
		}
	}
	closed('alone', officer()->query('SELECT img FROM incoming WHERE id = 0'));
};

$node->sql($db, <<'END');
CREATE FUNCTION declare_purpose() RETURNS bool LANGUAGE plpgsql VOLATILE AS
	'BEGIN PERFORM set_config(''biometric_audit.purpose'', ''border_control'', false);
	RETURN true; END';
CREATE FUNCTION face_and_purpose() RETURNS biometric.face_image LANGUAGE plpgsql AS
	'BEGIN SET biometric_audit.purpose = ''border_control'';
	RETURN (SELECT img FROM public.traveller WHERE id = 1); END';
CREATE FUNCTION faces_and_purpose() RETURNS SETOF biometric.face_image LANGUAGE plpgsql AS
	'BEGIN PERFORM public.declare_purpose();
	RETURN QUERY SELECT img FROM public.traveller ORDER BY id; END';
CREATE VIEW declaring AS SELECT img FROM traveller
	WHERE set_config('biometric_audit.purpose', 'border_control', false) <> '';
GRANT SELECT ON declaring TO officer;
END

subtest 'a purpose that is declared while a statement runs does not count for it' => sub {
	foreach my $sql (
		'SELECT img, declare_purpose() FROM traveller',
		'SELECT img FROM traveller WHERE declare_purpose()',
		'SELECT img::bytea FROM traveller WHERE declare_purpose()',
		'SELECT img FROM traveller, declare_purpose()',
		'SELECT img FROM declaring',
		'SELECT face_and_purpose()',
		'SELECT * FROM faces_and_purpose()')
	{
		my $wire = officer(purpose => undef);
		closed($sql, $wire->query($sql));
		gives('it counts for the next', $wire->query($control), 'traveller 1');
		$wire = officer(purpose => undef);
		closed('in one-row steps', $wire->extended($sql, max_rows => 1));
	}
};

subtest 'a C function that was declared on our symbols with other types is refused' => sub {
	my %declared = (
		'take_bytes(bytea) RETURNS biometric.face_image' => 'image_to_bytea',
		'send_bytes(bytea) RETURNS biometric.face_image' => 'image_send',
		'retype(biometric.face_image) RETURNS biometric.face_image' => 'image_to_bytea',
		'other_kind(biometric.face_image) RETURNS biometric.plate_image' => 'image_to_bytea');
	foreach my $function (keys %declared)
	{
		my $create = "CREATE FUNCTION $function LANGUAGE C STRICT "
		  . "AS '\$libdir/biometric_audit', '$declared{$function}'";
		is($node->admin($db)->query($create)->sqlstate, '42501', "refused: $create");
	}
	# Behind its back: another function, whose catalog row is then changed
	$node->unguarded($db, join ';', map { my ($name) = /^(\w+)/; <<"END" } keys %declared);
CREATE FUNCTION $_ LANGUAGE internal STRICT AS 'byteaout';
UPDATE pg_proc SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'c'),
	probin = '\$libdir/biometric_audit', prosrc = '$declared{$_}' WHERE proname = '$name'
END
	my $bytes = '\x' . unpack('H*', sealed_bytes('witness', 1));
	gives('the cast itself', officer()->query($cast), 'traveller 1');
	foreach my $user ('officer', $super)
	{
		closed("$user: " . substr($_, 0, 40), officer(user => $user)->query($_), '42883')
		  foreach (
			"SELECT take_bytes('$bytes')",
			"SELECT send_bytes('$bytes')",
			'SELECT retype(img) FROM traveller',
			'SELECT other_kind(img) FROM traveller',
			'SELECT take_bytes(img::bytea) FROM witness');
	}
};

$node->sql($db, <<'END');
CREATE TABLE kept (id int, b bytea);
GRANT ALL ON kept TO officer;
CREATE FUNCTION keep(n int, b bytea) RETURNS int LANGUAGE sql VOLATILE AS
	'INSERT INTO public.kept VALUES (n, b) RETURNING id';
END

subtest 'a cast that was kept opens neither later nor in another portal' => sub {
	gives('sent by the statement that made it', officer()->query($cast), 'traveller 1');
	my $wire = officer();
	$wire->query('INSERT INTO kept SELECT id, img::bytea FROM traveller');
	closed('from a table', $wire->query('SELECT b FROM kept'));
	closed('into a domain',
		$wire->query('CREATE DOMAIN pg_temp.raw AS bytea; SELECT b::pg_temp.raw FROM kept'));
	gives('but read by the statement that wrote it', $wire->query(<<'END'), map { "traveller $_" } 1 .. 3);
WITH w AS (INSERT INTO kept SELECT id, img::bytea FROM traveller RETURNING b) SELECT b FROM w
END
	$wire->query('BEGIN; DELETE FROM kept');
	$wire->send_parse('', 'SELECT keep(id, img::bytea) FROM traveller ORDER BY id');
	$wire->send_bind('a', '')->send_execute('a', 2)->send_flush;
	is($wire->collect(until => 'sCE')->row_count, 2, 'a portal that is suspended');
	$wire->send_parse('', 'SELECT b FROM kept');
	$wire->send_bind('b', '', results => [BINARY]);
	$wire->send_execute('b')->send_execute('a', 1)->send_flush;
	my $result = $wire->collect(until => 'CE');
	is($result->row_count, 2, 'what it kept');
	closed('in another portal', $result);
};

subtest 'a cast that was altered opens nothing' => sub {
	table('import', undef, 0);
	# of a table that the officer may not read: of one that he may, it would open
	table('vault');
	$node->sql($db, 'REVOKE ALL ON vault FROM officer');
	my $imported = encode_base64(sealed_bytes('vault', 2), '');
	$node->run('officer', $db, "INSERT INTO import VALUES (1, 'sealed:$imported')");
	my $wire = officer();
	closed("imported, $_", $wire->query("SELECT $_ FROM import"))
	  foreach ('img::bytea', 'set_byte(img::bytea, ' . FLAGS . ', 0)');
	closed($_, $wire->query("SELECT $_ FROM traveller WHERE id = 1"))
	  foreach map { "set_byte(img::bytea, $_, 255 - get_byte(img::bytea, $_))" } STAMP, IMAGE_ID;
	my $ciphertext = CIPHERTEXT + 1;
	my $result = $wire->query(<<"END");
SELECT overlay(t.img::bytea PLACING substr(d.img::bytea, $ciphertext) FROM $ciphertext)
FROM traveller t, desk d WHERE t.id = 1 AND d.id = 2
END
	ok($result->error, 'the ciphertext of another image: ' . ($result->message // 'no error'));
	is($result->row_count, 0, 'gives no row');
	shows_nothing('nor', $result);
	is($wire->query('SELECT 1')->value, 1, 'the session goes on');
};

subtest 'a cast whose length was changed is sent as the bytes it is' => sub {
	my ($wire, $length) = (officer(), length sealed_bytes('traveller', 1));
	my %altered = (
		q{img::bytea || '\x00'} => $length + 1,
		"substr(img::bytea, 1, $length - 1)" => $length - 1,
		'substr(img::bytea, 1, 216)' => 216,
		q{img::bytea || img::bytea} => 2 * $length);
	foreach my $expression (sort keys %altered)
	{
		my $sql = "SELECT $expression FROM traveller WHERE id = 1";
		my $result = $wire->extended($sql, results => [BINARY]);
		closed($expression, $result);
		is(length($result->value // ''), $altered{$expression}, 'in its length');
	}
};

subtest 'every image of a batch of more than four thousand is in the ledger' => sub {
	my $rows = 2100;
	table('crowd', undef, $rows);
	$node->sql($db, 'ALTER TABLE crowd ADD COLUMN other biometric.face_image');
	$node->sql($db, 'UPDATE crowd SET other = img');
	$node->set('biometric_audit.release_batch_rows', 4096);
	$node->set('biometric_audit.release_batch_size', '64MB');
	my $mark = $node->mark($db);
	my $select = 'SELECT img, other FROM crowd ORDER BY id';
	my $result = officer()->extended($select, results => [BINARY]);
	# Asked at once: what was received must have been durable before.
	my %released = $node->released($db, $mark);
	is($result->row_count, $rows, 'all rows');
	my @labels = map { seen($_) } map { @$_ } $result->rows;
	my @wrong = grep { $labels[$_] ne 'crowd ' . (1 + int($_ / 2)) } 0 .. $#labels;
	is(scalar @wrong, 0, 'every picture is what was enrolled');
	@wrong = grep { ($released{ $id_of{"crowd $_"} } // 0) != 2 } 1 .. $rows;
	is(scalar @wrong, 0, 'every one is entered as often as it was received');
	is(scalar keys %released, $rows, 'and no other');
	$node->set($_, undef)
	  foreach ('biometric_audit.release_batch_rows', 'biometric_audit.release_batch_size');
};

# ---------------------------------------------------------------- beside the executor

subtest 'functions called by fastpath yield sealed bytes only' => sub {
	my %oid = map { $_->{name} => $_->{oid} } $node->records($db, <<'END');
SELECT proname AS name, oid::int FROM pg_proc
WHERE proname ~ '^face_image_(send|out|in|recv)$' OR proname ~ '_(constant|safe)$'
	OR proname = 'sealed_bytes' AND proargtypes[0] = 'biometric.face_image'::regtype
	OR proname = 'face_image' AND proargtypes[0] = 'bytea'::regtype
END
	my $sealed = sealed_bytes('traveller', 1);
	my $text = 'sealed:' . encode_base64($sealed, '');
	my $picture = picture('traveller', 1);
	my @calls = (
		[ 'face_image_in', $text ],
		map({ ([ $_, [$sealed] ], [ $_, $text ]) } qw(face_image_send face_image_out sealed_bytes)),
		map({ [ 'face_image', [$_] ] } $sealed, $picture),
		map({ ([ "${_}_safe", 1 ], ["${_}_constant"]) } qw(traveller witness)));
	my $answered = 0;
	foreach my $case (map { ([ 'officer', $_ ], [ $super, $_ ]) } @calls)
	{
		my ($user, $name, @arguments) = ($case->[0], @{ $case->[1] });
		foreach my $format (TEXT, BINARY)
		{
			my $result = officer(user => $user)->function_call($oid{$name}, $format, @arguments);
			my ($reply) = $result->of('V');
			$answered++ if $reply;
			my $what = $reply ? seen($reply->{value}) : $result->sqlstate;
			ok(!$reply || $what eq 'sealed', "$name for $user in format $format: $what");
			shows_nothing($name, $result);
		}
	}
	cmp_ok($answered, '>', 20, 'most calls are answered');
	closed('a refused table', officer()->function_call($oid{asylum_constant}, BINARY), '42501');
};

subtest 'what logical decoding gives holds no picture' => sub {
	# the house may have every kind sealed; the agency is refused some
	my $wire = $node->connect_from('local', $db, $super, 'border_control');
	$wire->query("SELECT pg_create_logical_replication_slot('decoding', 'test_decoding')");
	table('decoded', undef, 3);
	$node->sql($db, 'ALTER TABLE decoded REPLICA IDENTITY FULL');
	$node->sql($db, 'UPDATE decoded SET id = id + 10; DELETE FROM decoded WHERE id = 11');
	foreach my $function ('peek_changes', 'peek_binary_changes', 'get_changes')
	{
		my $sql = "SELECT data FROM pg_logical_slot_$function('decoding', NULL, NULL)";
		closed("$function for who is refused some kinds",
			officer(user => $super)->query($sql), '42501');
		my $changes = shown($wire->query($sql));
		$changes = pack('H*', $changes =~ s/\\x|\s//gr) if $function =~ /binary/;
		my @found = $changes =~ /table public\.decoded: (\w+): /g;
		is(scalar @found, 3 + 3 + 1, "$function tells every change");
		like($changes, qr/sealed:/, 'with sealed values');
		ok($changes !~ $any_form, 'and no picture');
	}
};

subtest 'a dump from an authorised network, purpose and all, holds no picture' => sub {
	local $ENV{PGOPTIONS} = '-c biometric_audit.purpose=border_control';
	my $wire = $node->connect_from(LOOPBACK, $db, $super, 'border_control');
	gives('its network is served', $wire->query($control), 'traveller 1');
	my $path = $node->basedir . '/dump';
	my @dump = ('pg_dump', '-h', LOOPBACK, '-p', $node->port, '-U', $super, '-d', $db);
	my @what = ('-t', 'traveller', '-t', 'witness', '-f', $path);
	foreach my $how ([], ['--inserts'], [ '-Fc', '-Z0' ])
	{
		system_or_bail(@dump, @$how, @what);
		my $dump = slurp_file($path);
		is(scalar(() = $dump =~ /sealed:/g), 6, "every image, sealed (@$how)");
		ok($dump !~ $any_form, 'and no picture');
	}
};

subtest 'a dump that a superuser restores without our own rows opens by the policy that is there' => sub {
	my $path = $node->basedir . '/restore.dump';
	my @at = ('-h', $node->host, '-p', $node->port, '-U', $super);
	my $images = 'SELECT string_agg(concat_ws(\' \', id, biometric.image_id(img), '
	  . 'biometric.digest(img)), \',\' ORDER BY id) FROM kept';
	$node->sql('postgres', "CREATE DATABASE $_") foreach qw(source restored);
	$node->prepare('source');
	$node->sql('source', 'CREATE TABLE kept (id int, img biometric.face_image); INSERT INTO kept '
		  . 'SELECT n, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 3) AS n');
	system_or_bail('pg_dump', @at, '-d', 'source', '-Fc', '-f', $path);
	system_or_bail('pg_restore', @at, '-1', '-N', 'biometric', '-d', 'restored', $path);
	$node->policy('restored', <<'END');
SELECT biometric.register_party('house', 'the server itself', NULL);
SELECT biometric.register_local('house');
END
	my $wire = $node->connect_from('local', 'restored', $super, 'border_control');
	closed('without a permit', $wire->query('SELECT img FROM kept'), '42501');
	$node->policy('restored', q{SELECT biometric.authorize('house', '{face}', 'open')});
	is($node->sql('restored', $images), $node->sql('source', $images), 'the same images');
	my $result = $wire->query('SELECT img FROM kept ORDER BY id');
	is_deeply(
		[ map { is_sealed($_) ? 'sealed' : opened($_) } $result->column(0) ],
		[ map { BiometricAudit::Picture::numbered_jpeg($_, 500) } 1 .. 3 ],
		'they open, bit for bit');
	ok($node->verifies('restored'), 'with a ledger of its own');
};

# ---------------------------------------------------------------- what outlives a statement

$node->sql($db, <<'END');
CREATE FUNCTION open_cursor(c refcursor, name text) RETURNS refcursor LANGUAGE plpgsql AS
	'BEGIN OPEN c FOR EXECUTE format(''SELECT img FROM public.%I ORDER BY id'', name); RETURN c; END';
END
subtest 'images from a cursor that a function opened in an earlier statement are judged by its table' => sub {
	foreach my $sql (q{SELECT next_face('c')}, q{SELECT next_face('c')::bytea FROM desk WHERE id = 1})
	{
		my $wire = officer();
		$wire->query(q{BEGIN; SELECT open_cursor('c', 'traveller')});
		gives('a permitted table', $wire->query($sql), 'traveller 1');
		$wire = officer();
		$wire->query(q{BEGIN; SELECT open_cursor('c', 'witness')});
		closed($sql, $wire->query($sql));
	}
};

$node->sql($db, <<'END');
CREATE FUNCTION by_expression() RETURNS biometric.face_image LANGUAGE plpgsql AS
	'BEGIN RETURN public.witness_constant(); END';
CREATE FUNCTION by_query() RETURNS biometric.face_image LANGUAGE plpgsql AS
	'DECLARE f biometric.face_image;
	BEGIN SELECT public.witness_constant() INTO f FROM public.desk LIMIT 1; RETURN f; END';
END
subtest 'a constant folded into a plan inside a function opens nothing in later statements' => sub {
	foreach my $function ('by_expression', 'by_query')
	{
		my $wire = officer();
		$wire->query('SET plan_cache_mode = force_generic_plan');
		closed("$function, call $_", $wire->query("SELECT $function()")) foreach 1 .. 3;
	}
};

$node->sql($db, <<'END');
CREATE FUNCTION declare_immutable() RETURNS int LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN PERFORM set_config(''biometric_audit.purpose'', ''border_control'', false); RETURN 1; END';
CREATE FUNCTION declare_stable() RETURNS int LANGUAGE plpgsql STABLE AS
	'BEGIN PERFORM set_config(''biometric_audit.purpose'', ''border_control'', false); RETURN 1; END';
CREATE TABLE parts (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (2);
CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (2) TO (20);
GRANT SELECT ON parts TO officer;
END
enrol('parts', 1);
subtest 'a purpose declared while a statement is planned or started does not count for it' => sub {
	foreach my $sql (
		'SELECT img FROM traveller WHERE declare_immutable() = 1',
		'SELECT img, declare_immutable() FROM traveller',
		'SELECT img FROM parts WHERE id = declare_stable()')
	{
		closed($sql, officer(purpose => undef)->query($sql), '55000');
		closed("extended: $sql", officer(purpose => undef)->extended($sql), '55000');
	}
};

$node->sql($db, <<'END');
CREATE TABLE left_parent (id int, img biometric.face_image);
CREATE TABLE right_parent (id int, img biometric.face_image);
CREATE TABLE kid () INHERITS (left_parent, right_parent);
GRANT ALL ON left_parent, right_parent, kid TO officer;
END
enrol('kid', 1);
permit('right_parent', 'refuse');
subtest 'an heir that its other parent refuses is not read through the one that does not' => sub {
	closed('itself', officer()->query('SELECT img FROM kid'), '42501');
	closed('through the other parent', officer()->query('SELECT img FROM left_parent'), '42501');
};

subtest 'a trigger on a table of the policy cannot write to another table of the policy' => sub {
	$node->unguarded($db, <<"END");
CREATE FUNCTION grant_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN
	UPDATE biometric.permit SET delivery = ''open'' WHERE id = $sealed_permit; RETURN NEW; END';
CREATE TRIGGER grant_it AFTER INSERT ON biometric.party FOR EACH ROW EXECUTE FUNCTION grant_it();
END
	my $before = policy_and_log();
	my $register = q{SELECT biometric.register_party('visitor', 'v', tstzrange(NULL, NULL))};
	my $result = $node->connect_from('local', $db, 'custodian')->query($register);
	is($result->sqlstate, '42501', 'refused');
	is(policy_and_log(), $before, 'nothing has changed');
	closed('the permit holds', officer()->query('SELECT img FROM witness'));
	$node->unguarded($db, 'DROP TRIGGER grant_it ON biometric.party');
};

subtest 'a table that merely has the name of one of the policy is not published' => sub {
	$node->unguarded($db, <<'END');
ALTER TABLE biometric.permit RENAME TO former;
CREATE TABLE biometric.permit (LIKE biometric.former);
INSERT INTO biometric.permit SELECT (json_populate_record(f,
	'{"delivery": "open", "relation": null}')).* FROM biometric.former AS f;
END
	my $result = officer()->query('SELECT img FROM witness');
	closed('with the forged table', $result, $result->sqlstate);
	like($result->sqlstate // '', qr/^(42501)?$/, 'sealed or refused');
	$node->unguarded($db, 'DROP TABLE biometric.permit; ALTER TABLE biometric.former RENAME TO permit');
	ok(poll_until(sub { !officer()->query($control)->error }), 'the policy again');
	closed('with the policy again', officer()->query('SELECT img FROM witness'));
};

# ---------------------------------------------------------------- replication, last: it forges

subtest 'logical replication writes neither policy nor ledger, and goes on applying' => sub {
	$node->sql('postgres', 'CREATE DATABASE forger');
	$node->sql('forger', 'CREATE SCHEMA biometric; CREATE TABLE plain (n int PRIMARY KEY)');
	foreach my $table (qw(permit entry_00))
	{
		my $columns = $node->sql($db, <<"END");
SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = 'biometric.$table'::regclass AND attnum > 0 AND NOT attisdropped
END
		my $key = { permit => 'id', entry_00 => 'log_id, seq' }->{$table};
		$node->sql('forger', "CREATE TABLE biometric.$table ($columns, PRIMARY KEY ($key))");
	}
	my $forge = sub {
		my ($id, $delivery, $table) = @_;
		my $oid = $node->sql($db, "SELECT '$table'::regclass::oid");
		$node->sql('forger', <<"END");
INSERT INTO biometric.permit (id, party, kinds, delivery, relation, require_tls, granted_at,
	granted_by) VALUES ($id, 'agency', '{face}', '$delivery', $oid, false, now(), 'custodian')
END
	};
	$forge->($sealed_permit, 'sealed', 'witness');
	$forge->($refuse_permit, 'refuse', 'asylum');
	$node->sql('forger', 'CREATE PUBLICATION forged FOR ALL TABLES');
	$node->sql('forger', q{SELECT pg_create_logical_replication_slot('forged', 'pgoutput')});
	$node->sql($db, 'CREATE TABLE plain (n int PRIMARY KEY)');
	my $conninfo = 'host=' . $node->host . ' port=' . $node->port . " dbname=forger user=$super";
	$node->sql($db, <<"END");
CREATE SUBSCRIPTION forged CONNECTION '$conninfo' PUBLICATION forged
	WITH (create_slot = false, slot_name = forged, copy_data = false)
END
	my $arrives = sub {
		my ($n) = @_;
		$node->sql('forger', "INSERT INTO plain VALUES ($n)");
		return poll_until(sub { $node->sql($db, "SELECT count(*) FROM plain WHERE n = $n") });
	};
	my $worker = "SELECT pid FROM pg_stat_subscription WHERE subname = 'forged' AND relid IS NULL";
	ok($arrives->(1), 'a row of another table arrives');
	my $pid = $node->sql($db, $worker);

	my $before = policy_and_log();
	$forge->(1000, 'open', 'asylum');
	$node->sql('forger', $_)
	  foreach (
		"UPDATE biometric.permit SET delivery = 'open' WHERE id = $sealed_permit",
		"UPDATE biometric.permit SET id = 1001 WHERE id = $sealed_permit",
		"DELETE FROM biometric.permit WHERE id = $refuse_permit",
		q{INSERT INTO biometric.entry_00 VALUES (gen_random_uuid(), 0, 0, '\x00')});
	my $forged = $node->sql('forger', 'SELECT pg_current_wal_lsn()');
	ok($arrives->(2), 'a row sent after the forged ones arrives');
	my $confirmed = "SELECT bool_or(confirmed_flush_lsn >= '$forged') FROM pg_replication_slots";
	ok(poll_until(sub { $node->sql('forger', $confirmed) eq 't' }), 'and confirms them');
	is(policy_and_log(), $before, 'policy and ledger are as they were');
	is($node->sql($db, $worker), $pid, 'and the worker is the same');

	# A TRUNCATE cannot be passed over: the worker stops at it.
	$node->sql('forger', 'TRUNCATE biometric.permit');
	my $errors = 'SELECT apply_error_count > 0 FROM pg_stat_subscription_stats';
	ok(poll_until(sub { $node->sql($db, $errors) eq 't' }), 'a TRUNCATE is an error');
	is(policy_and_log(), $before, 'and changes nothing');
	$node->sql($db, 'DROP SUBSCRIPTION forged');

	# A change by the custodian has the policy read anew.
	$node->policy($db, q{SELECT biometric.register_party('late', 'l', tstzrange(NULL, NULL))});
	closed('the sealed table', officer()->query('SELECT img FROM witness'));
	closed('the refused table', officer()->query('SELECT img FROM asylum'), '42501');
};

my $never = qr/^(witness|asylum|(registry|lane)_sealed|(ward|dock)_refused|dock|mother|daughter)/;
my $entered = entered(0);
cmp_ok(scalar keys %$entered, '>', 2100, 'the ledger knows what was released');
is(join(', ', grep { /$never/ } keys %$entered), '', 'and none that was not to be');
ok($node->verifies($db), 'and verifies');

done_testing();

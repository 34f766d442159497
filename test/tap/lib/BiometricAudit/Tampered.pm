package BiometricAudit::Tampered;

# One ledger, many copies of it, each changed in one way by somebody who is
# superuser and starts the server without the library; and what finds it.
#
# The ledger is in database "ledger" and has everything that can be changed: a
# log that was retired, the log that was forked from it, with a detached
# segment, checkpoints and cosignatures, and a restored log that was adopted.
# "attached" is a copy from before that segment was detached, "older" one from
# before the ledger grew, "handed" one that was handed over.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(write_file);
use BiometricAudit::Node    qw(poll_until);

our @EXPORT_OK = qw(furnish try_tamperings);

use constant { SEGMENT => 1024, AT_ONCE => 32 };

my $signing = BiometricAudit::Archive->key('none');
my @witnesses = map { BiometricAudit::Archive->key("witness.example/$_", 4) } qw(one two);
my ($node, $place, %ledger);

# ---------------------------------------------------------------- the ledger

sub settle
{
	my ($database) = @_;
	my $query = 'SELECT s.pending = 0 AND h.settled = s.size
		FROM biometric.ledger_status() AS s, biometric.head AS h WHERE h.log_id = s.log_id';
	poll_until(sub { ($node->sql($database, $query) // '') eq 't' })
	  || diag 'the ledger does not settle';
	return $node->sql($database, 'SELECT biometric.checkpoint()');
}

sub grow
{
	my ($database, $pictures) = @_;
	$node->sql(
		$database, "INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image
		FROM generate_series(1, $pictures) AS n");
	return settle($database);
}

# Takes the first segment's entries away, as an auditor and a custodian would.
sub detach
{
	my $archive = "$place/archive";
	$node->sql('ledger', "SELECT biometric.export_ledger('$archive')");
	my ($out) = run_command(
		[
			'biometric-verify', 'segment', $archive, 0,
			'--segment-size', SEGMENT, '--key', $ledger{vkey},
			'--json'
		]);
	my $root = JSON::PP::decode_json($out)->{root};
	$node->policy('ledger', "SELECT biometric.detach_segment(0, '\\x$root', 'the archive has it')");
	return;
}

# Another database's log, as if restored from a dump.
sub adopt
{
	$node->sql('elsewhere', 'CREATE TABLE face (id int, img biometric.face_image)');
	grow('elsewhere', 270);
	$ledger{adopted} = $node->sql('elsewhere', 'SELECT log_id FROM biometric.log');
	foreach my $table (qw(log entry_00 tile head image_entry activity traced checkpoint verifier))
	{
		$node->sql('elsewhere', "COPY biometric.$table TO '$place/$table'");
		$node->sql('ledger', "COPY biometric.$table FROM '$place/$table'");
	}
	$node->policy('ledger', "SELECT biometric.fork_ledger('was another''s')");
	return;
}

sub cosign
{
	my ($checkpoint) = @_;
	my ($text) = $checkpoint =~ /^(.*?\n)\n/s;
	my $lines = join '', map { $_->cosignature($text, 1_790_000_000) } @witnesses;
	$node->sql('ledger', "SELECT biometric.add_cosignature('$checkpoint$lines')");
	return;
}

# unloaded(sub) runs with the library not loaded: nothing guards anything.
sub unloaded
{
	my ($work) = @_;
	foreach my $library ('', 'biometric_audit')
	{
		$node->stop;
		$node->append_conf('postgresql.conf', "shared_preload_libraries = '$library'");
		$node->start;
		$work->() if $library eq '';
	}
	return;
}

# Whoever may change the catalogs has no triggers in the way.
sub unguarded
{
	my ($database, @statements) = @_;
	my $triggers = "UPDATE pg_trigger SET tgenabled = '%s' WHERE tgenabled = '%s' AND tgrelid IN "
	  . "(SELECT oid FROM pg_class WHERE relnamespace = 'biometric'::regnamespace)";
	$node->sql(
		$database, join ";\n",
		'SET allow_system_table_mods = on',
		sprintf($triggers, 'D', 'A'),
		@statements, sprintf($triggers, 'A', 'D'));
	$node->leave($database);
	return;
}

# Copies a database, makes the copy the log's own place, and changes it.
sub copy_database
{
	my ($template, $name, @statements) = @_;
	$node->sql('postgres', "CREATE DATABASE $name TEMPLATE $template STRATEGY file_copy");
	my $own = "UPDATE biometric.log SET database_oid =
		(SELECT oid FROM pg_database WHERE datname = current_database()) WHERE ordinal IS NOT NULL";
	unguarded($name, $own, @statements);
	return;
}

# No worker goes to a database that takes no connections.
sub put_to_sleep
{
	my ($database) = @_;
	$node->leave($database);
	$node->sql('postgres', "ALTER DATABASE $database ALLOW_CONNECTIONS false");
	return;
}

# furnish() makes the server and the ledger, and returns what there is to know
# of it: log_id (of the present log), parent and adopted (ids), vkey (the
# auditor's), outside (checkpoints kept outside, by database), key
# (BiometricAudit::Archive's, named after the present log), witness (the first
# one's verifier key), logs (by id: id, size, entries by number, checkpoints by
# size, kept: the hashes of the first tile).
sub furnish
{
	$place = PostgreSQL::Test::Utils::tempdir();
	$node = BiometricAudit::Node->create(
		'tampered',
		conf => join "\n",
		'max_worker_processes = 60',
		'biometric_audit.max_databases = 44',
		"biometric_audit.ring_size = '256kB'",
		"biometric_audit.policy_size = '256kB'",
		'biometric_audit.segment_size = ' . SEGMENT,
		"biometric_audit.signing_key = '$signing->{directory}/key'",
		"biometric_audit.witnesses = '" . join(',', map { $_->vkey } @witnesses) . "'",
		# nothing crashes here, and whole databases are copied
		'fsync = off',
		'');
	foreach my $database (qw(ledger elsewhere))
	{
		$node->sql('postgres', "CREATE DATABASE $database");
		$node->prepare($database);
	}
	$node->sql('ledger', 'CREATE TABLE face (id int, img biometric.face_image)');
	grow('ledger', 70);
	$ledger{parent} = $node->sql('ledger', 'SELECT log_id FROM biometric.log');
	$node->policy('ledger', "SELECT biometric.retire_ledger('it is full')");
	$node->policy('ledger', "SELECT biometric.fork_ledger('it begins anew')");
	my $first = grow('ledger', 1100);
	$ledger{log_id} = $node->sql('ledger', 'SELECT log_id FROM biometric.ledger_status()');
	$ledger{vkey} = $node->sql('ledger', 'SELECT biometric.verifier_key()');
	cosign($first);
	adopt();
	$ledger{outside}{attached} = settle('ledger');
	unloaded(sub { copy_database('ledger', 'attached') });
	put_to_sleep('attached');
	detach();
	cosign(grow('ledger', 1100));
	unloaded(sub { copy_database('ledger', $_) foreach qw(older handed) });
	put_to_sleep('older');
	$node->sql('ledger',
		'UPDATE face SET img = (SELECT img FROM face WHERE id = 3 LIMIT 1) WHERE id = 1');
	$node->sql('ledger', 'DELETE FROM face WHERE id = 2');
	$ledger{outside}{ledger} = grow('ledger', 40);
	$node->policy('handed', "SELECT biometric.hand_over_ledger('it goes elsewhere')");
	$ledger{outside}{handed} = closing_checkpoint('handed');
	know($_) foreach @ledger{qw(log_id parent adopted)};
	my ($name) = $ledger{vkey} =~ /^(.*?)\+/;
	$ledger{key} = $signing->named($name);
	$ledger{witness} = $witnesses[0]->vkey;
	put_to_sleep($_) foreach qw(ledger handed);
	return \%ledger;
}

# The checkpoint over everything, of a log that takes no more entries.
sub closing_checkpoint
{
	my ($database) = @_;
	my $query = "SELECT biometric.checkpoint(max(seq) + 1) FROM biometric.ledger";
	poll_until(sub { defined $node->sql($database, $query) });
	return $node->sql($database, $query);
}

# What somebody knows of a log who reads all the tables.
sub know
{
	my ($id) = @_;
	my $bytes = sub { return pack 'H*', substr $_[0], 2 };
	my $tile = $node->sql('ledger',
		"SELECT hashes FROM biometric.tile WHERE log_id = '$id' AND level = 1 AND index = 0");
	my %entries = map { $_->{seq} => $bytes->($_->{entry}) }
	  $node->records('ledger', "SELECT seq, entry FROM biometric.entry WHERE log_id = '$id'");
	my %checkpoints = map { $_->{size} => $bytes->($_->{note}) }
	  $node->records('ledger', "SELECT size, note FROM biometric.checkpoint WHERE log_id = '$id'");
	$ledger{logs}{$id} = {
		id => $id,
		size => $node->sql('ledger', "SELECT size FROM biometric.head WHERE log_id = '$id'"),
		entries => \%entries,
		checkpoints => \%checkpoints,
		kept => defined $tile ? [ unpack '(a32)32', $bytes->($tile) ] : []
	};
	return;
}

# ---------------------------------------------------------------- what finds a change

# Whether the worker has begun, and signed whatever there is to sign, or says why not.
sub has_begun
{
	my ($status) = @_;
	return defined $status->{last_error} if $status->{state} =~ /^(starting|none)$/;
	return
		 $status->{state} ne 'ready'
	  || defined $status->{checkpoint_error}
	  || ($status->{checkpoint_size} // 0) >= $status->{size};
}

sub worker_finds
{
	my ($database) = @_;
	my $status;
	poll_until(
		sub {
			($status) = $node->records($database, 'SELECT * FROM biometric.ledger_status()');
			return has_begun($status);
		}) || diag 'the worker does not begin';
	return "$status->{state}: " . ($status->{last_error} // '')
	  if $status->{state} !~ /^(ready|retired)$/;
	return $status->{checkpoint_error};
}

# What a verifying function says.
sub verified
{
	my ($database, @arguments) = @_;
	my $result = $node->admin($database)
	  ->query('SELECT problem FROM biometric.verify_ledger(' . join(', ', @arguments) . ')');
	return $result->message if $result->error;
	my ($row) = $result->rows;
	return $row->[0];
}

# Of the present logs and of those that were restored.
sub function_finds
{
	my ($database) = @_;
	my @restored = map { "'$_->{log_id}'::uuid" }
	  $node->records($database, 'SELECT log_id FROM biometric.log WHERE ordinal IS NULL');
	return (grep { defined } verified($database), map { verified($database, $_) } @restored)[0];
}

# What the program says of an export, to an auditor who has the key and knows
# what was detached.
sub program_finds
{
	my ($database, $base, @arguments) = @_;
	push @arguments, '--from', SEGMENT unless $base eq 'attached';
	my $directory = "$place/$database";
	my $result = $node->admin($database)->query("SELECT biometric.export_ledger('$directory')");
	return 'no export: ' . $result->message if $result->error;
	my ($out, $errors) =
	  run_command([ 'biometric-verify', 'verify', $directory, '--key', $ledger{vkey}, @arguments ]);
	return $? == 0 ? undef : "$out$errors";
}

sub outside_finds
{
	my ($database, $base) = @_;
	my $checkpoint = $ledger{outside}{$base};
	write_file("$place/outside", $checkpoint);
	return verified($database, "'$checkpoint'")
	  // program_finds($database, $base, '--checkpoint', "$place/outside");
}

sub all_that_finds
{
	my ($database, $base) = @_;
	my @said = (
		worker_finds($database),
		scalar function_finds($database),
		program_finds($database, $base),
		scalar outside_finds($database, $base));
	$node->leave($database);
	note map { '    ' . s/\n/\n    /gr . "\n" } map { $_ // '-' } @said;
	return map { defined ? 1 : 0 } @said;
}

# try_tamperings(cases): hashes with database (to be made), sql (a list of
# statements), base (the database that it is a copy of, if not "ledger") and
# rolled_back (instead of that, a database that was copied before). Sets found:
# whether the worker, verify_ledger(), the program and an outside checkpoint find it.
sub try_tamperings
{
	my @cases = @_;
	my @done;
	while (my @some = splice @cases, 0, AT_ONCE)
	{
		unloaded(
			sub {
				$node->sql('postgres', "DROP DATABASE $_->{database}") foreach @done;
				copy_database($_->{rolled_back} // $_->{base} // 'ledger',
					$_->{database}, @{ $_->{sql} })
				  foreach @some;
			});
		foreach my $case (@some)
		{
			note "$case->{database}: $case->{table}, $case->{rows}: $case->{change}\n";
			$case->{found} = [ all_that_finds($case->{database}, $case->{base} // 'ledger') ];
		}
		@done = @some;
	}
	return;
}

1;

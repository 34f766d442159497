# Checkpoints leave the server by themselves: biometric_audit.checkpoint_command
# gets each new one, is tried again when it fails, is ended when it hangs, and
# can say that another system continues the log.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', SIZE => 500 };

my $db = 'postgres';
my $dir = PostgreSQL::Test::Utils::tempdir();

# script(name, text): a shell script to be the command.
sub script
{
	my ($name, $text) = @_;
	my $path = "$dir/$name";
	open my $file, '>', $path or die "$path: $!";
	print $file "#!/bin/sh\n$text";
	CORE::close $file;
	chmod 0755, $path;
	return $path;
}

# signing_key(name): the path of a fresh key.
sub signing_key
{
	my ($name) = @_;
	my $path = "$dir/$name.pem";
	system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$path'");
	return $path;
}

# enrolled(name, conf, %options): a server that signs, with a picture that the office may see.
sub enrolled
{
	my ($name, $conf, %options) = @_;
	my $key = signing_key($name);
	my $node = BiometricAudit::Node->create($name,
		conf => "biometric_audit.signing_key = '$key'\nmax_worker_processes = 16\n$conf\n", %options);
	$node->prepare($db);
	furnish($node, $db);
	return $node;
}

sub furnish
{
	my ($node, $database) = @_;
	$node->register($database, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');
	$node->sql($database, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO traveller SELECT 1, numbered_jpeg(1, ${\SIZE})::biometric.face_image;
GRANT SELECT ON traveller TO officer;
END
	return;
}

# read_one(node, database): 1 when the picture is released, otherwise the SQLSTATE.
sub read_one
{
	my ($node, $database) = @_;
	my $wire = $node->connect_from(OFFICE, $database // $db, 'officer', 'control');
	my $result = $wire->query('SELECT img FROM traveller');
	$wire->close;
	return $result->sqlstate if $result->error;
	return scalar grep { !is_sealed($_) } $result->column(0);
}

# status(node, database): ledger_status() as a hash.
sub status
{
	my ($node, $database) = @_;
	my ($status) = $node->records($database // $db, 'SELECT * FROM biometric.ledger_status()');
	return $status;
}

# until_status(node, condition, database): the first status that meets it.
sub until_status
{
	my ($node, $condition, $database) = @_;
	my $status;
	return poll_until(
		sub {
			$status = status($node, $database);
			return $condition->($status) && $status;
		}) || { %{ $status // {} }, timed_out => 1 };
}

# anchored(node, database): the status once everything that is durable has been delivered.
sub anchored
{
	my ($node, $database) = @_;
	my $size = $node->mark($database // $db);
	return until_status($node, sub { ($_[0]{anchored_size} // 0) >= $size }, $database);
}

sub contents { my ($path) = @_; return -e $path ? slurp_file($path) : ''; }

my $keep = script('keep', <<"END");
cat > $dir/\$3.stdin.new || exit 1
cat "\$1" > $dir/\$3.file.new || exit 1
stat -c %a "\$1" > $dir/\$3.mode
env > $dir/\$3.env
mv $dir/\$3.stdin.new $dir/\$3.stdin
mv $dir/\$3.file.new $dir/\$3.file
echo "\$2 \$3 \$4 \$5" >> $dir/delivered
END

my $node = enrolled('anchored', "biometric_audit.ledger_origin = 'example.org/it''s'");
my $log_id = $node->sql($db, 'SELECT log_id FROM biometric.log');

subtest 'without a command nothing is delivered, and nothing is amiss' => sub {
	is(read_one($node), 1, 'released');
	my $status = until_status($node, sub { $_[0]{checkpoint_size} });
	is($status->{anchored_size}, undef, 'nothing was delivered');
	is($status->{anchor_failures} // 0, 0, 'nothing failed');
};

subtest 'the command gets each checkpoint, in a file and on its standard input' => sub {
	$ENV{PGPASSWORD} = 'secret';
	$node->restart;
	delete $ENV{PGPASSWORD};
	$node->set('biometric_audit.checkpoint_command', "$keep %p %o %s %l %t; : 100%% %x");
	my $status = anchored($node);
	ok($status->{anchored_at}, 'delivered');
	is($status->{anchor_failures}, 0, 'without failures');
	my $size = $status->{anchored_size};
	my $note = contents("$dir/$size.stdin");
	like($note, qr{^example\.org/it's/\Q$log_id\E\n$size\n}, 'a checkpoint of this log and size');
	is(contents("$dir/$size.file"), $note, 'the same in the file');
	is(contents("$dir/$size.mode"), "600\n", 'which only the server may read');
	like(contents("$dir/delivered"),
		qr{^example\.org/it's/\Q$log_id\E $size \Q$log_id\E 1$}m, 'origin, size, log id and timeline');
	unlike(contents("$dir/$size.env"), qr/secret|BIOMETRIC|PGDATA/, 'nothing secret in its environment');
	is(read_one($node), 1, 'the ledger grows');
	my $later = anchored($node);
	cmp_ok($later->{anchored_size}, '>', $size, 'and so does what was delivered');
	ok(poll_until(sub { !glob $node->data_dir . '/biometric_audit.anchor/*' }),
		'no file is left in the data directory');
};

subtest 'each checkpoint is delivered once, and the newest again after a restart' => sub {
	my $size = anchored($node)->{anchored_size};
	my $times = sub { return scalar grep { / $size / } split /\n/, contents("$dir/delivered") };
	$node->settle;
	is($times->(), 1, 'once');
	$node->restart;
	ok(poll_until(sub { $times->() > 1 || contents("$dir/delivered") =~ / \Q${\($size + 1)}\E / }),
		'again after a restart, or a newer one');
	anchored($node);
};

subtest 'a command that fails is tried again, and seen to fail' => sub {
	my $gate = "$dir/open";
	my $failing = script('failing', "test -e $gate && exit 0\necho 'no room left' >&2\necho more >&2\nexit 7\n");
	$node->set('biometric_audit.checkpoint_command', $failing);
	is(read_one($node), 1, 'the ledger goes on meanwhile');
	my $status = until_status($node, sub { ($_[0]{anchor_failures} // 0) >= 2 });
	is($status->{anchor_error}, 'exit status 7: no room left', 'the status says how it failed');
	is(read_one($node), 1, 'and on');
	append_to_file($gate, '');
	$status = anchored($node);
	is($status->{anchor_failures}, 0, 'until it works');
	is($status->{anchor_error}, undef, 'which is seen, too');
	like(slurp_file($node->logfile), qr/checkpoint_command failed: exit status 7: no room left/, 'the log says so');
};

subtest 'what cannot be run at all fails, too' => sub {
	$node->set('biometric_audit.checkpoint_command', "$dir/nothing_there %p");
	is(read_one($node), 1, 'the ledger grows');
	like(until_status($node, sub { $_[0]{anchor_failures} })->{anchor_error}, qr/^exit status 127/, 'missing');
	$node->set('biometric_audit.checkpoint_command', 'echo psql: no; exit 3');
	is(until_status($node, sub { ($_[0]{anchor_error} // '') =~ /psql/ })->{anchor_error},
		'exit status 3: psql: no', 'with the status of being superseded, but without the word');
	is(read_one($node), 1, 'which fences nothing');
	$node->set('biometric_audit.checkpoint_command', 'kill -SEGV $$');
	like(until_status($node, sub { ($_[0]{anchor_error} // '') =~ /signal/ })->{anchor_error},
		qr/^was ended by signal 11/, 'dying');
};

subtest 'a command that hangs is ended, and holds up no other database' => sub {
	$node->sql($db, 'CREATE DATABASE east');
	$node->prepare('east');
	furnish($node, 'east');
	my $hanging = script('hanging', "test \$2 = $log_id || exec $keep \$1 east \$3 \$2 \$4\n"
		  . "sleep 1000 & echo \$! >> $dir/pids; echo waiting; wait\n");
	$node->set('biometric_audit.checkpoint_command_timeout', '1500ms');
	$node->set('biometric_audit.checkpoint_command', "$hanging %p %l %s %t");
	is(read_one($node), 1, 'the one grows');
	is(read_one($node, 'east'), 1, 'the other, too');
	is(anchored($node, 'east')->{anchor_failures}, 0, 'which is delivered');
	my $status = until_status($node, sub { ($_[0]{anchor_error} // '') =~ /did not end/ });
	is($status->{anchor_error}, 'did not end within 1500 ms: waiting', 'while the first is ended in the end');
	my @pids = split /\n/, contents("$dir/pids");
	ok(poll_until(sub { !BiometricAudit::Node::process_alive($pids[0]) }), 'with what it had started');
	$node->set('biometric_audit.checkpoint_command_timeout', '1h');
	ok(poll_until(sub { (() = contents("$dir/pids") =~ /\n/g) > @pids }), 'it hangs again');
	$node->stop;
	@pids = split /\n/, contents("$dir/pids");
	ok(poll_until(sub { !BiometricAudit::Node::process_alive($pids[-1]) }), 'and is ended with the server');
	$node->append_conf('postgresql.conf', "biometric_audit.checkpoint_command = ''");
	$node->start;
};

subtest 'the process that delivers may end at any time' => sub {
	$node->set('biometric_audit.checkpoint_command', "$keep %p %o %s %l %t");
	anchored($node);
	my $pid = sub {
		return (grep { BiometricAudit::Node::process_title($_) =~ /biometric_audit anchors/ }
			  BiometricAudit::Node::children_of($node->{_pid}))[0];
	};
	my $old = $pid->();
	ok($old, 'there is one');
	kill 'TERM', $old;
	ok(poll_until(sub { my $new = $pid->(); $new && $new != $old }), 'and then another');
	is(read_one($node), 1, 'the ledger grows');
	is(anchored($node)->{timed_out}, undef, 'and is delivered');
};

# A small store of the newest timeline, as an archive of checkpoints would keep it. Two
# servers ask it at once: each sees what the other has left.
my $store = script('store', <<"END");
exec 9>>$dir/lock
flock 9 || exit 1
newest=\$(cat $dir/timeline 2>/dev/null || echo 0)
log=\$(cat $dir/log 2>/dev/null || echo \$2)
[ "\$2" != "\$log" ] || [ "\$1" -ge "\$newest" ] || { echo "superseded by timeline \$newest" >&2; exit 3; }
[ "\$2" != "\$log" ] || { echo "\$2" > $dir/log; echo "\$1" > $dir/timeline; }
END

subtest 'an old primary whose store knows a newer timeline is fenced' => sub {
	my $primary = enrolled('primary', "biometric_audit.checkpoint_command = '$store %t %l'", allows_streaming => 1);
	anchored($primary);
	$primary->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($primary, 'b', has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	is(scalar(grep { BiometricAudit::Node::process_title($_) =~ /anchors/ }
		  BiometricAudit::Node::children_of($standby->{_pid})), 0, 'a standby delivers nothing');
	is($primary->sql($db, 'SELECT state FROM biometric.ledger_status()'), 'ready', 'before');
	$standby->promote;
	ok(poll_until(sub { contents("$dir/timeline") eq "2\n" }), 'the standby that was promoted delivers');
	is(read_one($standby), 1, 'and releases');
	# the split: the primary does not know, and takes one more
	read_one($primary);
	my $status = until_status($primary, sub { $_[0]{state} eq 'foreign' });
	is($status->{state}, 'foreign', 'the old primary is fenced');
	is($status->{anchor_error}, 'exit status 3: superseded by timeline 2', 'as the command said');
	# the worker that was fenced writes it into the row and ends; the next one says why
	$status = until_status($primary, sub { $_[0]{state} eq 'foreign' && $_[0]{last_error} });
	like($status->{last_error}, qr/fenced by anchor.*fork_ledger/, 'and says why, and what to do');
	is(read_one($primary), '42501', 'it releases nothing any more');
	is($primary->sql($db, q{SELECT fenced_by FROM biometric.log}), 'anchor', 'its row says so');
	$primary->restart;
	is(until_status($primary, sub { $_[0]{state} ne 'starting' })->{state}, 'foreign', 'also after a restart');
	$primary->policy($db, q{SELECT biometric.fork_ledger('the split of the night')});
	is(until_status($primary, sub { $_[0]{state} eq 'ready' })->{state}, 'ready', 'until it is forked');
	ok($_->verifies($db), $_->name . ' verifies') foreach $primary, $standby;
	$_->stop foreach $primary, $standby;
};

$node->stop;
done_testing();

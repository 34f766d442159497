package BiometricAudit::Load;

# Clients that work side by side, each a process of its own, and write down
# outside of the database what the server has acknowledged to them: every
# picture that arrived opened, every commit, every refusal. Whatever happens to
# the server, all of this must be found in the ledger afterwards.
#
#   my $load = BiometricAudit::Load->begin($node, 'postgres');
#   $load->acknowledged(10);      # each client was told ten things more
#   $node->crash; $node->start;
#   $load->end;
#   $load->is_kept($node, 'after a crash');
#
# Readers select pictures; writers enrol them; hasty writers do so with
# synchronous_commit = off, so that their commits count for nothing, but must not
# be kept without their entries; strangers are refused. A client whose
# connection ends, or who cannot connect, tries again, until end.

use strict;
use warnings;

use Exporter   qw(import);
use File::Path qw(mkpath);
use POSIX      ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use BiometricAudit::Node qw(is_sealed poll_until);

our @EXPORT_OK = qw(furnish);

use constant {
	OFFICE => '127.0.0.2',
	STRANGER => '127.0.0.3',
	PICTURES => 50,
	AT_ONCE => 8
};

my $loads = 0;

# furnish(node, database): the extension, who may read, a table that is read,
# traveller, and one that grows, enrolled.
sub furnish
{
	my ($node, $database) = @_;
	my $pictures = PICTURES;
	$node->prepare($database);
	$node->register($database, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	$node->sql($database, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE enrolled (id text PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON traveller TO officer;
INSERT INTO traveller
	SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, $pictures) AS n;
END
	return;
}

# begin(node, database, %options): starts the clients. readers, writers, hasty,
# strangers: how many. No strangers where the ledger may not answer in time: a
# refusal is a refusal also when it cannot be recorded.
sub begin
{
	my ($class, $node, $database, %options) = @_;
	my $self = bless {
		database => $database,
		mark => $node->mark($database),
		directory => $node->basedir . '/load' . ++$loads,
		clients => []
	}, $class;
	mkpath($self->{directory});
	$self->{image_of} = {
		map { $_->{id} => $_->{image_id} } $node->records(
			$database, 'SELECT id, biometric.image_id(img) AS image_id FROM traveller') };
	my @kinds = (
		('reader') x ($options{readers} // 2),
		('writer') x ($options{writers} // 1),
		('hasty') x ($options{hasty} // 1),
		('stranger') x ($options{strangers} // 1));
	$self->_start_client($node, $_, $kinds[$_]) foreach 0 .. $#kinds;
	return $self;
}

sub _start_client
{
	my ($self, $node, $number, $kind) = @_;
	my $journal = "$self->{directory}/$number";
	my $pid = fork // die "fork: $!";
	if ($pid)
	{
		push @{ $self->{clients} }, { pid => $pid, kind => $kind, journal => $journal };
		return;
	}

	# Nothing of the test may end here: neither its servers nor its plan.
	eval { _client($self, $node, $number, $kind, $journal); };
	POSIX::_exit(0);
}

# ---------------------------------------------------------------- a client

sub _client
{
	my ($self, $node, $number, $kind, $journal) = @_;
	my $stop = 0;
	my $work =
	  { reader => \&_read, writer => \&_write, hasty => \&_write, stranger => \&_ask }->{$kind};
	local $SIG{TERM} = sub { $stop = 1; };
	local $SIG{PIPE} = 'IGNORE';
	open my $file, '>>', $journal or die "$journal: $!";
	my $note = sub { syswrite($file, "$_[0]\n") // die $!; };
	srand($number + $$);
	for (my $turn = 1; !$stop; $turn++)
	{
		my $wire = eval { _connect($self, $node, $kind) };
		for (my $step = 1; $wire && !$stop; $step++)
		{
			my $result = eval { $work->($wire, "$number.$$.$turn.$step", $note) };
			last if !$result || $result->eof;
			next unless $result->error;
			$note->('failed ' . $result->sqlstate . ' ' . $result->message);
			usleep(20_000);
		}
		usleep(20_000);
	}
	return;
}

sub _connect
{
	my ($self, $node, $kind) = @_;
	my %address = (reader => OFFICE, stranger => STRANGER);
	my @as =
	  $address{$kind}
	  ? ($address{$kind}, $self->{database}, 'officer', 'border_control')
	  : ('local', $self->{database}, $node->superuser, undef);
	my $wire = $node->connect_from(@as, timeout => 600);
	$wire->{hasty} = $kind eq 'hasty';
	$wire->query('SET synchronous_commit = off') if $wire->{hasty};
	return $wire;
}

sub _read
{
	my ($wire, $name, $note) = @_;
	my $from = int(rand(PICTURES));
	return $wire->query(
		"SELECT id, img FROM traveller WHERE id > $from ORDER BY id LIMIT " . AT_ONCE,
		on_row => sub { $note->("sent $_[0][0]") unless is_sealed($_[0][1]); });
}

sub _write
{
	my ($wire, $name, $note) = @_;
	my $result = $wire->query("INSERT INTO enrolled VALUES ('$name',
		numbered_jpeg((random() * 1e6)::int, 400)::biometric.face_image)
		RETURNING biometric.image_id(img)");
	$note->("stored $name " . $result->value)
	  if !$wire->{hasty} && !$result->error && $result->tags;
	return $result;
}

sub _ask
{
	my ($wire, $name, $note) = @_;
	my $result = $wire->query('SELECT img FROM traveller LIMIT 1');
	$note->('sent 1') if $result->row_count;
	return $result unless ($result->sqlstate // '') eq '42501';
	$note->('refused') unless ($result->detail // '') =~ /could not be recorded/;
	return BiometricAudit::Wire::Result->new;
}

# ---------------------------------------------------------------- what they were told

# Each client's journal as a list of lists of words; an unfinished line does not count.
sub _journals
{
	my ($self) = @_;
	my @journals;
	foreach my $client (@{ $self->{clients} })
	{
		my $text = -e $client->{journal} ? slurp_file($client->{journal}) : '';
		push @journals, [ map { [ split / /, $_, 3 ] } $text =~ /^(.*)\n/mg ];
	}
	return @journals;
}

# told() is how many things of each word all clients have written down.
sub told
{
	my ($self) = @_;
	my %told;
	$told{ $_->[0] }++ foreach map { @$_ } $self->_journals;
	return %told;
}

# failures() are the errors that clients received: SQLSTATE and message.
sub failures
{
	my ($self) = @_;
	return map { "$_->[1] $_->[2]" } grep { $_->[0] eq 'failed' } map { @$_ } $self->_journals;
}

# acknowledged(n) returns when each client but the hasty has been told n things
# more that are no errors; false when that takes too long.
sub acknowledged
{
	my ($self, $count) = @_;
	my @before = $self->_good;
	my @counts = grep { $self->{clients}[$_]{kind} ne 'hasty' } 0 .. $#before;
	return poll_until(
		sub {
			my @now = $self->_good;
			!grep { $now[$_] < $before[$_] + $count } @counts;
		});
}

# How much each client was told that is no error.
sub _good
{
	my ($self) = @_;
	return map {
		scalar grep { $_->[0] ne 'failed' } @$_
	} $self->_journals;
}

# failed(n) returns when n errors more have come to all of them together.
sub failed
{
	my ($self, $count) = @_;
	my $wanted = $self->failures + ($count // 1);
	return poll_until(sub { $self->failures >= $wanted });
}

# end() ends the clients, and returns when they are gone. end('KILL') is for
# those that may wait for an answer that does not come any more.
sub end
{
	my ($self, $signal) = @_;
	my @pids = map { $_->{pid} } @{ $self->{clients} };
	kill $signal // 'TERM', @pids;
	my %gone;
	poll_until(
		sub {
			foreach my $pid (grep { !$gone{$_} } @pids)
			{
				$gone{$pid} = 1 if waitpid($pid, POSIX::WNOHANG()) != 0;
			}
			return keys %gone == @pids;
		});

	foreach my $pid (grep { !$gone{$_} } @pids)
	{
		kill 'KILL', $pid;
		waitpid($pid, 0);
	}
	$self->{ended} = 1;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($@, $!, $?);
	$self->end unless $self->{ended};
	return;
}

# ---------------------------------------------------------------- what is kept

# is_kept(node, name): all that was acknowledged is in the ledger of this node,
# each row has its entry and each entry that counts its row, and the ledger
# verifies.
sub is_kept
{
	my ($self, $node, $name) = @_;
	return subtest $name => sub {
		my $db = $self->{database};
		my @told = map { @$_ } $self->_journals;
		ok( poll_until(
				sub { $node->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' }),
			'the ledger is at work');
		$self->_pictures_are_kept($node, grep { $_->[0] eq 'sent' } @told);
		$self->_commits_are_kept($node, grep { $_->[0] eq 'stored' } @told);
		my $refused = grep { $_->[0] eq 'refused' } @told;
		cmp_ok(scalar(my @entries = $node->refusals($db, $self->{mark})),
			'>=', $refused, "each of $refused refusals is in the ledger");
		ok($node->verifies($db), 'the ledger verifies');
	};
}

sub _pictures_are_kept
{
	my ($self, $node, @sent) = @_;
	my %released = $node->released($self->{database}, $self->{mark});
	my %received;
	$received{ $self->{image_of}{ $_->[1] } // '' }++ foreach @sent;
	my @missing = grep { ($released{$_} // 0) < $received{$_} } keys %received;
	return is(scalar @missing, 0,
		'each of ' . @sent . ' pictures that arrived is in the ledger, as often as it did');
}

sub _commits_are_kept
{
	my ($self, $node, @stored) = @_;
	my $db = $self->{database};
	my %row = map { $_->{id} => $_->{image_id} }
	  $node->records($db, 'SELECT id, biometric.image_id(img) AS image_id FROM enrolled');
	my @changes = $node->records($db, <<'END');
SELECT image_id, min(state) AS state FROM biometric.change
WHERE event = 'stored' AND relation = 'public.enrolled' GROUP BY image_id
END
	my %state = map { $_->{image_id} => $_->{state} } @changes;
	is(scalar(grep { ($row{ $_->[1] } // '') ne $_->[2] } @stored),
		0, 'each of ' . @stored . ' commits is there');
	is(scalar(grep { ($state{$_} // '') ne 'committed' } values %row),
		0, 'each of ' . keys(%row) . ' rows has its entry');
	my %kept = reverse %row;
	return is(scalar(grep { $state{$_} eq 'committed' && !$kept{$_} } keys %state),
		0, 'and each entry that says so has its row');
}

1;

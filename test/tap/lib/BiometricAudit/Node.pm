package BiometricAudit::Node;

# A throw-away server with the extension loaded: a PostgreSQL::Test::Cluster
# that listens on several loopback addresses, keeps its keyring outside the
# data directory, and knows how to ask the ledger.

use strict;
use warnings;

use parent 'PostgreSQL::Test::Cluster';

use Carp        qw(croak);
use Digest::SHA qw(sha256_hex);
use Exporter    qw(import);
use File::Path  qw(mkpath);
use IO::Socket::IP;
use JSON::PP ();
use IO::Select;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Time::Local qw(timegm);

use BiometricAudit::Picture qw(numbered_jpeg_sql);
use BiometricAudit::Wire;

our @EXPORT_OK = qw(is_sealed opened poll_until has_ipv6);

my $sealed_magic = "\x89SEAL\r\n\x1a";

# What a suite dies of is said where its tests are, too: otherwise it would be in its log alone.
INIT
{
	my $others = $SIG{__DIE__};
	$SIG{__DIE__} = sub {
		diag "died: $_[0]" if defined $^S && !$^S;
		$others->(@_) if ref $others;
	};
}

# ---------------------------------------------------------------- values

# is_sealed(value) tells whether a field, text or binary, is a sealed image.
sub is_sealed
{
	my ($value) = @_;
	return defined $value
	  && ( index($value, 'sealed:') == 0
		|| index($value, $sealed_magic) == 0
		|| index($value, '\x' . unpack('H*', $sealed_magic)) == 0);
}

# opened(value) returns the bytes of a field sent as bytea text.
sub opened
{
	my ($value) = @_;
	croak 'not the text of a bytea' unless defined $value && $value =~ s/^\\x//;
	return pack('H*', $value);
}

# poll_until(sub) calls until it returns true; false after the deadline, which it says.
sub poll_until
{
	my ($condition) = @_;
	my $deadline = Time::HiRes::time() + $PostgreSQL::Test::Utils::timeout_default;
	while (Time::HiRes::time() < $deadline)
	{
		my $answer = $condition->();
		return $answer if $answer;
		usleep(20_000);
	}
	my (undef, $file, $line) = caller;
	diag "nothing came in $PostgreSQL::Test::Utils::timeout_default s of what $file line $line waits for";
	return 0;
}

# replace_file(path, text, mode) writes a file so that nobody ever reads half of it.
sub replace_file
{
	my ($path, $text, $mode) = @_;
	open my $file, '>', "$path.written" or croak "$path.written: $!";
	print $file $text;
	CORE::close $file or croak "$path.written: $!";
	chmod $mode, "$path.written" if defined $mode;
	rename "$path.written", $path or croak "$path: $!";
	return;
}

# has_ipv6() tells whether this machine has ::1.
sub has_ipv6
{
	my $socket = IO::Socket::IP->new(LocalHost => '::1', Listen => 1);
	return defined $socket;
}

# ---------------------------------------------------------------- the server

# create(name, %options): a running server. conf: further lines for
# postgresql.conf; keyring: text, 0 for none; preload => 0; start => 0;
# allows_streaming => 1; initdb: further arguments of initdb.
sub create
{
	my ($class, $name, %options) = @_;
	my $node = $class->new($name);
	$node->init(
		allows_streaming => $options{allows_streaming} // 0,
		extra => [ '--encoding=UTF8', '--locale=C', @{ $options{initdb} // [] } ]);
	mkpath($node->basedir . '/keys');
	my $preload = $options{preload} // 1;
	$node->write_keyring($options{keyring} // $node->fresh_key(1)) if $options{keyring} // 1;
	$node->append_conf(
		'postgresql.conf', join "\n",
		_settings($node, $preload),
		# replication is decided by the policy of this database, see prepare()
		$preload && $options{allows_streaming}
		? "biometric_audit.replication_database = 'postgres'"
		: (),
		$options{conf} // '');
	$node->append_conf('pg_hba.conf', "host all all 127.0.0.0/8 trust\nhost all all ::1/128 trust");
	$node->start if $options{start} // 1;
	return $node;
}

sub _settings
{
	my ($node, $preload) = @_;
	my $addresses = '127.0.0.1,127.0.0.2,127.0.0.3' . (has_ipv6() ? ',::1' : '');
	return (
		"listen_addresses = '$addresses'",
		'fsync = on',
		'log_statement = none',
		'max_connections = 40',
		'shared_buffers = 32MB',
		'jit = off',
		'autovacuum_naptime = 1h',
		$preload
		? ( "shared_preload_libraries = 'biometric_audit'",
			"biometric_audit.keyring = '" . $node->keyring_path . "'")
		: ());
}

# Whatever starts or stops the server ends the sessions that admin keeps.
sub start
{
	my ($self, @arguments) = @_;
	delete $self->{_admin};
	return $self->SUPER::start(@arguments);
}

# faketime(): the library that sets the clock of a server; undef where it is not installed.
sub faketime
{
	my ($library) = grep { -e } glob '/usr/lib/*/faketime/libfaketime.so.1 /usr/lib*/faketime/libfaketime.so.1';
	return $library;
}

# start_at(time) starts the server at that time (UTC), from which its clock goes on.
sub start_at
{
	my ($self, $time) = @_;
	local %ENV = (
		%ENV,
		TZ => 'UTC',
		LD_PRELOAD => faketime(),
		FAKETIME_TIMESTAMP_FILE => $self->basedir . '/clock',
		FAKETIME_NO_CACHE => 1,
		FAKETIME_DONT_FAKE_MONOTONIC => 1,
		NO_FAKE_STAT => 1);
	$self->set_clock($time);
	return $self->start;
}

# set_clock(time) sets the clock of a server that start_at has started: it jumps.
sub set_clock
{
	my ($self, $time) = @_;
	my ($year, $month, @rest) = $time =~ /(\d+)/g;
	my $clock = $self->basedir . '/clock';
	my $offset = timegm(reverse($year, $month - 1, @rest)) - time;
	append_to_file("$clock.new", sprintf("%+d\n", $offset));
	rename "$clock.new", $clock or croak "the clock cannot be set: $!";
	return;
}

sub stop
{
	my ($self, @arguments) = @_;
	delete $self->{_admin};
	return $self->SUPER::stop(@arguments);
}

sub restart
{
	my ($self) = @_;
	delete $self->{_admin};
	return $self->SUPER::restart;
}

# forget() drops the sessions that admin keeps, after a crash that ended them.
sub forget { delete $_[0]->{_admin}; return; }

# crash() kills every process of the server with SIGKILL, and returns when all
# are gone. A dead postmaster that nobody has reaped yet still has a process
# id, so its lock files are removed here.
sub crash
{
	my ($self) = @_;
	my $postmaster = $self->{_pid};
	my @pids = ($postmaster, children_of($postmaster));
	delete $self->{_admin};
	kill 'KILL', @pids;
	$self->{_pid} = undef;
	poll_until(
		sub {
			!grep { process_alive($_) } @pids;
		}) || croak 'processes outlive SIGKILL';
	unlink $self->data_dir . '/postmaster.pid', $self->host . '/.s.PGSQL.' . $self->port . '.lock';
	return;
}

# children_of(pid) lists a process's children.
sub children_of
{
	my ($parent) = @_;
	my @children;
	foreach my $path (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $path or next;
		my $line = <$file>;
		next unless defined $line && $line =~ /^(\d+) \(.*\) \S (\d+) /s;
		push @children, $1 if $2 == $parent;
	}
	return @children;
}

# process_state(pid) is the letter that ps shows; '' when there is no such process.
sub process_state
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return '';
	my $line = <$file>;
	return defined $line && $line =~ /^\d+ \(.*\) (\S) /s ? $1 : '';
}

# process_alive(pid) is false for a zombie, too.
sub process_alive { return process_state($_[0]) =~ /^[^ZX]/; }

# process_title(pid): what a process calls itself; '' when it has ended meanwhile.
sub process_title
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/cmdline" or return '';
	local $/ = "\0";
	my $title = readline $file // return '';
	chomp $title;
	return $title;
}

# halt(pid) stops a worker of the server where it waits for something to do, so that it holds
# nothing that others could wait for; kill 'CONT' has it go on. False when it is gone.
sub halt
{
	my ($self, $pid) = @_;
	my $wire = $self->admin('postgres');
	my $halted;
	poll_until(
		sub {
			kill 'STOP', $pid;
			poll_until(sub { process_state($pid) =~ /^[TZX]?$/ });
			return 1 if process_state($pid) ne 'T';
			$wire->send_query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid");
			my $answered = IO::Select->new($wire->{stream})->can_read(2);
			kill 'CONT', $pid unless $answered;
			my $result = $wire->drain;
			$halted = $answered && ($result->value // '') eq 'Extension';
			kill 'CONT', $pid unless $halted;
			return $halted;
		}) || croak "process $pid does not stand still";
	return $halted;
}

# halt_worker(database) does so with the database's ledger worker, and returns its process id.
sub halt_worker
{
	my ($self, $database) = @_;
	my $pid;
	poll_until(sub { $pid = $self->worker($database); return $pid && $self->halt($pid); })
	  || croak "there is no worker for $database";
	return $pid;
}

# kill_one(sub) kills the process that the sub names with SIGKILL, and returns when the server
# has noticed it, ended all others and recovered. A process that ends by itself before is not
# it: the sub is asked again.
sub kill_one
{
	my ($self, $victim) = @_;
	my $witness = $self->connect_from('local', 'postgres', superuser());
	my $pid;
	poll_until(
		sub {
			$pid = $victim->() or return 0;
			# what stands still ends by nothing else
			kill 'STOP', $pid;
			poll_until(sub { process_state($pid) =~ /^[TZX]?$/ });
			return process_state($pid) eq 'T';
		}) || croak 'there is no process to kill';
	kill 'KILL', $pid;
	$witness->drain;
	$self->forget;
	poll_until(sub { return eval { $self->sql('postgres', 'SELECT 1'); }; })
	  || croak 'the server does not come back';
	return $pid;
}

# ---------------------------------------------------------------- keys and settings

sub keyring_path { return $_[0]->basedir . '/keys/keyring'; }

# fresh_key(id) is a line of a keyring; the same for the same node name and id.
sub fresh_key
{
	my ($self, $id) = @_;
	return "$id " . sha256_hex("key $id of " . $self->name) . "\n";
}

# write_keyring(text, mode) replaces the keyring.
sub write_keyring
{
	my ($self, $text, $mode) = @_;
	return replace_file($self->keyring_path, $text, $mode // 0600);
}

# set(name, value) changes a setting by file and reload, and returns when new
# sessions see it. value undef: back to the default.
sub set
{
	my ($self, $name, $value) = @_;
	my $path = $self->data_dir . '/postgresql.conf';
	my $text = slurp_file($path);
	$text =~ s/^\Q$name\E\s*=.*\n//mg;
	$text .= "$name = '$value'\n" if defined $value;
	# a process that is late with what was set before may read it now
	replace_file($path, $text, 0600);
	return $self->settle;
}

# settle() reloads the configuration, and returns when the postmaster and so every new session
# has seen it, and every old one has been told: the postmaster lets nobody in before.
sub settle
{
	my ($self) = @_;
	my $before = $self->sql('postgres', 'SELECT pg_conf_load_time()');
	$self->sql('postgres', 'SELECT pg_reload_conf()');
	poll_until(sub { $self->sql('postgres', "SELECT pg_conf_load_time() > '$before'") eq 't' })
	  || croak 'the configuration was not reloaded';
	$self->connect_from('local', 'postgres', superuser(), undef, fail_ok => 1)->close;
	return;
}

# ---------------------------------------------------------------- connections

# connect_from(address, database, user, purpose, %options): a session from a
# loopback address, or from 'local' by the unix socket. purpose undef: none is
# declared. options: as BiometricAudit::Wire->connect's.
sub connect_from
{
	my ($self, $address, $database, $user, $purpose, %options) = @_;
	my %params = %{ delete $options{params} // {} };
	$params{'biometric_audit.purpose'} = $purpose if defined $purpose;
	my %where =
		$address eq 'local' ? (socket => $self->host)
	  : $address =~ /:/     ? (host => '::1', local => $address)
	  :                       (host => '127.0.0.1', local => $address);
	return BiometricAudit::Wire->connect(
		%where,
		port => $self->port,
		database => $database,
		user => $user,
		params => \%params,
		%options);
}

# superuser() is the name of the bootstrap superuser.
sub superuser { return scalar getpwuid($<); }

# admin(database): a session of the superuser by the unix socket, kept.
sub admin
{
	my ($self, $database) = @_;
	my $wire = $self->{_admin}{$database};
	if (!$wire || !$wire->{stream})
	{
		$wire = $self->{_admin}{$database} =
		  $self->connect_from('local', $database, superuser(), undef,
			params => { application_name => 'test' });
	}
	return $wire;
}

# leave(database) ends the session that admin keeps there, and waits until it has gone.
sub leave
{
	my ($self, $database) = @_;
	my $wire = delete $self->{_admin}{$database};
	return unless $wire;
	my $pid = $wire->pid;
	$wire->close;
	poll_until(sub { !process_alive($pid) });
	return;
}

# sql(database, text) runs statements as superuser and returns the first value
# of the last row; dies on an error.
sub sql
{
	my ($self, $database, $text) = @_;
	my $result = $self->admin($database)->query($text);
	croak "$text: " . $result->message . ' ' . ($result->detail // '') if $result->error;
	croak "$text: connection lost" if $result->eof;
	my @rows = $result->rows;
	return @rows ? $rows[-1][0] : undef;
}

# try_drop_extension(wire) drops it, with what depends on it, and returns the result.
sub try_drop_extension
{
	my ($wire) = @_;
	return $wire->query('DROP EXTENSION biometric_audit CASCADE');
}

# drop_extension(database) does so, and dies if it is refused.
sub drop_extension
{
	my ($self, $database) = @_;
	my $result = try_drop_extension($self->admin($database));
	croak 'DROP EXTENSION: ' . $result->message if $result->error;
	return;
}

# unguarded(database, text) does so on the server as it is without the library,
# which nothing guards, and starts it again with the library.
sub unguarded
{
	my ($self, $database, $text) = @_;
	foreach my $library ('', 'biometric_audit')
	{
		$self->stop;
		$self->append_conf('postgresql.conf', "shared_preload_libraries = '$library'");
		$self->start;
		$self->sql($database, $text) if $library eq '';
	}
	return;
}

# run(user, database, text) does so as somebody else, on a session of its own.
sub run
{
	my ($self, $user, $database, $text) = @_;
	my $wire = $self->connect_from('local', $database, $user);
	my $result = $wire->query($text);
	$wire->close;
	croak "$text: " . $result->message . ' ' . ($result->detail // '') if $result->error;
	my @rows = $result->rows;
	return @rows ? $rows[-1][0] : undef;
}

# policy(database, text) runs statements as a custodian.
sub policy { my ($self, @rest) = @_; return $self->run('custodian', @rest); }

# records(database, query) returns the rows of a query as hashes.
sub records
{
	my ($self, $database, $query) = @_;
	my $text =
	  $self->sql($database, "SELECT coalesce(pg_catalog.json_agg(q), '[]') FROM ($query) AS q");
	return @{ JSON::PP->new->utf8->decode($text) };
}

# ---------------------------------------------------------------- a database to work in

# prepare(database): the extension, a custodian, an auditor, an officer and
# the function public.numbered_jpeg; the server's own unix socket belongs to
# the party "house", which gets everything sealed.
sub prepare
{
	my ($self, $database) = @_;
	$self->sql($database, 'CREATE EXTENSION biometric_audit');
	foreach my $role (qw(custodian auditor officer))
	{
		next if $self->sql($database, "SELECT count(*) FROM pg_roles WHERE rolname = '$role'");
		$self->sql($database, "CREATE ROLE $role LOGIN");
		$self->sql($database, "GRANT biometric_$role TO $role") if $role ne 'officer';
	}
	$self->sql($database, numbered_jpeg_sql());
	$self->sql($database, 'GRANT ALL ON SCHEMA public TO officer');
	$self->policy($database, <<'END');
SELECT biometric.register_party('house', 'the server itself', tstzrange('2020-01-01', NULL));
SELECT biometric.register_local('house');
SELECT biometric.authorize('house', '{face,plate,document,fingerprint,iris}', 'sealed');
END
	return;
}

# register(database, party, network, kinds, delivery, purposes): a party in
# contract, one network and one permit; kinds and purposes as array literals.
# Returns the permit's id.
sub register
{
	my ($self, $database, $party, $network, $kinds, $delivery, $purposes) = @_;
	$purposes = defined $purposes ? "'$purposes'" : 'NULL';
	return $self->policy($database, <<"END");
SELECT biometric.register_party('$party', 'party $party', tstzrange('2020-01-01', NULL));
SELECT biometric.register_network('$network', '$party');
SELECT biometric.authorize('$party', '$kinds', '$delivery', $purposes);
END
}

# ---------------------------------------------------------------- the ledger

# mark(database): the number of entries now, to ask for what comes after.
sub mark
{
	my ($self, $database) = @_;
	return $self->sql($database, 'SELECT count(*) FROM biometric.ledger');
}

# events(database, mark): "event, event, ..." since then, in order.
sub events
{
	my ($self, $database, $mark) = @_;
	return $self->sql($database, <<"END");
SELECT coalesce(string_agg(event, ', ' ORDER BY seq), '') FROM biometric.ledger WHERE seq >= $mark
END
}

# released(database, mark): how often each image id was released since then.
sub released
{
	my ($self, $database, $mark) = @_;
	return map { $_->{image_id} => $_->{times} } $self->records($database, <<"END");
SELECT image_id, count(*) AS times FROM biometric.ledger
WHERE seq >= $mark AND event IN ('disclosed', 'observed') GROUP BY image_id
END
}

# refusals(database, mark): the refused entries since then, as hashes.
sub refusals
{
	my ($self, $database, $mark) = @_;
	return $self->records($database,
		"SELECT * FROM biometric.refusal WHERE seq >= $mark ORDER BY seq");
}

# verifies(database): true if verify_ledger() finds nothing wrong; its problem otherwise is noted.
sub verifies
{
	my ($self, $database) = @_;
	my ($answer) =
	  $self->records($database, 'SELECT ok, size, problem FROM biometric.verify_ledger()');
	diag 'verify_ledger: ' . ($answer->{problem} // '?') unless $answer->{ok};
	return $answer->{ok};
}

# worker(database, other): the process id of the database's ledger worker, as soon as there is
# one that is not that other.
sub worker
{
	my ($self, $database, $other) = @_;
	$other //= 0;
	my $pid;
	poll_until(
		sub {
			$pid = $self->sql('postgres', <<"END");
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'biometric_audit ledger' AND datname = '$database' AND pid <> $other
END
		});
	return $pid;
}

1;

package BiometricAudit::Wire;

# A client of PostgreSQL's protocol 3.0 that hides nothing: every message is
# sent when the test says so and handed back in the order it came. libpq can
# neither suspend a portal nor stop reading in the middle of a result, nor
# choose the address that it connects from.
#
#   my $wire = BiometricAudit::Wire->connect(
#       host => '127.0.0.1', port => 5432, local => '127.0.0.2',
#       user => 'officer', database => 'agency', params => { ... });
#   my $result = $wire->query('SELECT 1');
#   print $result->value;
#
# Every wait has a deadline, after which it dies: a hung server fails a test
# rather than hanging it.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Socket      qw(SOL_SOCKET SO_LINGER SO_RCVBUF SOCK_STREAM);
use Time::HiRes ();

use constant READ_SIZE => 262144;

my %name_of_type = (
	'1' => 'ParseComplete',
	'2' => 'BindComplete',
	'3' => 'CloseComplete',
	'A' => 'NotificationResponse',
	'C' => 'CommandComplete',
	'D' => 'DataRow',
	'E' => 'ErrorResponse',
	'G' => 'CopyInResponse',
	'H' => 'CopyOutResponse',
	'I' => 'EmptyQueryResponse',
	'K' => 'BackendKeyData',
	'N' => 'NoticeResponse',
	'R' => 'Authentication',
	'S' => 'ParameterStatus',
	'T' => 'RowDescription',
	'V' => 'FunctionCallResponse',
	'Z' => 'ReadyForQuery',
	'c' => 'CopyDone',
	'd' => 'CopyData',
	'n' => 'NoData',
	's' => 'PortalSuspended',
	't' => 'ParameterDescription');

# connect(%options): host and port, or socket (a directory) and port; user,
# database; local: address to connect from; params: further start-up
# parameters; receive_buffer: bytes, small so that the server soon has to wait
# for a client that does not read; fail_ok: return the failed connection,
# whose startup result holds the error, instead of dying.
sub connect
{
	my ($class, %options) = @_;
	my $self = bless {
		options => {%options},
		timeout => $options{timeout} // $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180,
		input => '',
		offset => 0
	}, $class;

	$self->{stream} = $self->_open_stream;
	my %params = (
		user => $options{user},
		database => $options{database},
		%{ $options{params} // {} });
	my $body = pack('N', 196608);
	$body .= "$_\0$params{$_}\0" foreach sort keys %params;
	$self->_write(pack('N', length($body) + 5) . $body . "\0");

	my $result = $self->collect(until => 'Z', startup => 1);
	$self->{startup} = $result;
	if ($result->error || $result->eof)
	{
		return $self if $options{fail_ok};
		croak 'connection failed: ' . ($result->message // 'closed by the server');
	}
	return $self;
}

sub _open_stream
{
	my ($self) = @_;
	my %options = %{ $self->{options} };

	if (defined $options{socket})
	{
		my $path = "$options{socket}/.s.PGSQL.$options{port}";
		return IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path)
		  || croak "could not connect to $path: $!";
	}
	my @sockopts;
	push @sockopts, [ SOL_SOCKET, SO_RCVBUF, pack('i', $options{receive_buffer}) ]
	  if $options{receive_buffer};
	my $stream = IO::Socket::IP->new(
		PeerHost => $options{host},
		PeerPort => $options{port},
		LocalHost => $options{local},
		Type => SOCK_STREAM,
		Sockopts => \@sockopts) || croak "could not connect to $options{host}: $@";
	$stream->setsockopt(Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1);
	return $stream;
}

# startup() is the result of the start-up sequence.
sub startup { return $_[0]->{startup}; }

# pid() and key() identify this session for a cancel request.
sub pid { return $_[0]->{pid}; }
sub key { return $_[0]->{key}; }

# address() is the client's own address, as the server sees it.
sub address { return $_[0]->{stream}->sockhost; }

# status() is the transaction status of the last ReadyForQuery: I, T or E.
sub status { return $_[0]->{status}; }

# ---------------------------------------------------------------- sending

sub _write
{
	my ($self, $bytes) = @_;
	my $sent = 0;
	while ($sent < length $bytes)
	{
		my $n = syswrite($self->{stream}, $bytes, length($bytes) - $sent, $sent);
		next if !defined $n && $!{EINTR};
		croak "could not send: $!" unless defined $n;
		$sent += $n;
	}
	return;
}

# send_message(type, body) sends any message; the length is filled in.
sub send_message
{
	my ($self, $type, $body) = @_;
	$body //= '';
	$self->_write($type . pack('N', length($body) + 4) . $body);
	return $self;
}

sub send_query { return $_[0]->send_message('Q', "$_[1]\0"); }
sub send_sync  { return $_[0]->send_message('S'); }
sub send_flush { return $_[0]->send_message('H'); }

# send_parse(name, sql, @type_oids)
sub send_parse
{
	my ($self, $name, $sql, @types) = @_;
	return $self->send_message('P', pack('Z* Z* n N*', $name, $sql, scalar @types, @types));
}

# send_bind(portal, statement, params => [...], results => [formats]). A
# parameter is a text, undef for NULL, or [bytes] to be sent in binary.
sub send_bind
{
	my ($self, $portal, $statement, %options) = @_;
	my @params = @{ $options{params} // [] };
	my @results = @{ $options{results} // [] };
	my $body = pack('Z* Z* n', $portal, $statement, scalar @params);
	$body .= pack('n', ref $_ ? 1 : 0) foreach @params;
	$body .= pack('n', scalar @params);
	foreach my $param (@params)
	{
		my $value = ref $param ? $param->[0] : $param;
		$body .= defined $value ? pack('N', length $value) . $value : pack('l>', -1);
	}
	$body .= pack('n n*', scalar @results, @results);
	return $self->send_message('B', $body);
}

# send_describe('S' or 'P', name) and send_close the same way.
sub send_describe { return $_[0]->send_message('D', $_[1] . $_[2] . "\0"); }
sub send_close    { return $_[0]->send_message('C', $_[1] . $_[2] . "\0"); }

# send_execute(portal, max_rows): 0 for all.
sub send_execute { return $_[0]->send_message('E', pack('Z* N', $_[1], $_[2] // 0)); }

# send_function_call(oid, result_format, @arguments): fastpath, arguments as send_bind's.
sub send_function_call
{
	my ($self, $oid, $format, @arguments) = @_;
	my $body = pack('N n', $oid, scalar @arguments);
	$body .= pack('n', ref $_ ? 1 : 0) foreach @arguments;
	$body .= pack('n', scalar @arguments);
	foreach my $argument (@arguments)
	{
		my $value = ref $argument ? $argument->[0] : $argument;
		$body .= defined $value ? pack('N', length $value) . $value : pack('l>', -1);
	}
	return $self->send_message('F', $body . pack('n', $format));
}

# ---------------------------------------------------------------- receiving

# Makes sure that count unread bytes are buffered; false at the end of the stream.
sub _fill
{
	my ($self, $count) = @_;
	my $deadline = Time::HiRes::time() + $self->{timeout};
	while (length($self->{input}) - $self->{offset} < $count)
	{
		if ($self->{offset})
		{
			substr($self->{input}, 0, $self->{offset}, '');
			$self->{offset} = 0;
		}
		my $left = $deadline - Time::HiRes::time();
		croak 'the server sent nothing for too long' if $left <= 0;
		next unless IO::Select->new($self->{stream})->can_read($left);
		my $n = sysread($self->{stream}, $self->{input}, READ_SIZE, length $self->{input});
		next if !defined $n && $!{EINTR};
		return 0 unless $n;
	}
	return 1;
}

# receive() returns the next message as a hash with at least type, or undef
# when the server has closed the connection.
sub receive
{
	my ($self) = @_;
	return undef unless $self->_fill(5);
	my ($type, $length) = unpack("x$self->{offset} a N", $self->{input});
	return undef unless $self->_fill($length + 1);
	my $body = substr($self->{input}, $self->{offset} + 5, $length - 4);
	$self->{offset} += $length + 1;
	return $self->_decode($type, $body);
}

sub _decode
{
	my ($self, $type, $body) = @_;
	my %message = (type => $type, name => $name_of_type{$type});

	if ($type eq 'D')
	{
		$message{values} = _decode_row($body);
	}
	elsif ($type eq 'E' || $type eq 'N')
	{
		my %field = map { substr($_, 0, 1) => substr($_, 1) } split(/\0/, $body);
		$message{fields} = \%field;
	}
	elsif ($type eq 'T')
	{
		$message{columns} = _decode_columns($body);
	}
	elsif ($type eq 'C')
	{
		$message{tag} = unpack('Z*', $body);
	}
	elsif ($type eq 'Z')
	{
		$message{status} = $self->{status} = $body;
	}
	elsif ($type eq 'K')
	{
		($self->{pid}, $self->{key}) = unpack('N N', $body);
	}
	elsif ($type eq 't')
	{
		my ($count, @types) = unpack('n N*', $body);
		$message{types} = \@types;
	}
	elsif ($type eq 'V')
	{
		my $length = unpack('l>', $body);
		$message{value} = $length < 0 ? undef : substr($body, 4, $length);
	}
	elsif ($type eq 'S')
	{
		my ($name, $value) = unpack('Z* Z*', $body);
		$self->{parameters}{$name} = $value;
	}
	else
	{
		$message{body} = $body;
	}
	return \%message;
}

sub _decode_row
{
	my ($body) = @_;
	my $count = unpack('n', $body);
	my $offset = 2;
	my @values;
	for (1 .. $count)
	{
		my $length = unpack("x$offset l>", $body);
		$offset += 4;
		if ($length < 0)
		{
			push @values, undef;
			next;
		}
		push @values, substr($body, $offset, $length);
		$offset += $length;
	}
	croak 'a DataRow is longer than its fields' if $offset != length $body;
	return \@values;
}

sub _decode_columns
{
	my ($body) = @_;
	my ($count, $rest) = unpack('n a*', $body);
	my @columns;
	for (1 .. $count)
	{
		my %column;
		(@column{qw(name table number type size modifier format)}, $rest) =
		  unpack('Z* N n N s> l> n a*', $rest);
		push @columns, \%column;
	}
	return \@columns;
}

# collect(until => types, rows => n, on_row => sub) receives messages up to
# and with the first whose type is in until, or up to and with the n-th
# DataRow, or to the end of the stream, and returns them as a result.
# on_row is called with the values of each row, which are then not kept.
sub collect
{
	my ($self, %options) = @_;
	my $until = $options{until} // 'Z';
	my $result = BiometricAudit::Wire::Result->new;
	my $on_row = $options{on_row};
	my $at_most = $options{rows};

	while (1)
	{
		my $message = $self->receive;
		if (!defined $message)
		{
			$result->{eof} = 1;
			last;
		}
		my $type = $message->{type};
		if ($type eq 'D')
		{
			$result->{row_count}++;
			if   ($on_row) { $on_row->($message->{values}); }
			else           { push @{ $result->{messages} }, $message; }
			last if defined $at_most && $result->{row_count} >= $at_most;
		}
		else
		{
			push @{ $result->{messages} }, $message;
		}
		last if index($until, $type) >= 0;
		last if $options{startup} && $type eq 'E';
	}
	return $result;
}

# drain() reads to the end of the stream or the next ReadyForQuery.
sub drain { return $_[0]->collect(until => 'Z'); }

# ---------------------------------------------------------------- whole exchanges

# query(sql, %collect_options) is a simple query, collected to ReadyForQuery.
sub query
{
	my ($self, $sql, %options) = @_;
	$self->send_query($sql);
	return $self->collect(until => 'Z', %options);
}

# extended(sql, params => [...], results => [formats], types => [oids],
# max_rows => n, on_row => sub) is one unnamed statement through Parse, Bind,
# Describe, Execute and Sync. With max_rows the portal is executed again, in
# the same transaction, as long as it is suspended.
sub extended
{
	my ($self, $sql, %options) = @_;
	my $max_rows = $options{max_rows} // 0;

	$self->send_parse('', $sql, @{ $options{types} // [] });
	$self->send_bind('', '', params => $options{params}, results => $options{results});
	$self->send_describe('P', '');
	$self->send_execute('', $max_rows);
	if (!$max_rows)
	{
		$self->send_sync;
		return $self->collect(until => 'Z', on_row => $options{on_row});
	}
	my $result = $self->execute_on('', $max_rows, on_row => $options{on_row});
	$self->send_sync;
	return $result->add($self->collect(until => 'Z'));
}

# execute_on(portal, max_rows): the Execute has been sent; collects it, and
# executes the portal again until it is no longer suspended.
sub execute_on
{
	my ($self, $portal, $max_rows, %options) = @_;
	my $result = BiometricAudit::Wire::Result->new;
	while (1)
	{
		$self->send_flush;
		my $part = $self->collect(until => 'sCEI', %options);
		$result->add($part);
		last if $part->eof || !$part->count('s');
		$self->send_execute($portal, $max_rows);
	}
	return $result;
}

# function_call(oid, result_format, @arguments)
sub function_call
{
	my ($self, @arguments) = @_;
	$self->send_function_call(@arguments);
	return $self->collect(until => 'Z');
}

# cancel() asks the server, on a connection of its own, to cancel what runs here.
sub cancel
{
	my ($self) = @_;
	my $stream = $self->_open_stream;
	syswrite($stream, pack('N N N N', 16, 80877102, $self->{pid}, $self->{key}));
	# The server closes the connection when it has sent the signal.
	my $rest;
	IO::Select->new($stream)->can_read($self->{timeout});
	sysread($stream, $rest, 1);
	close $stream;
	return;
}

# close() says goodbye.
sub close
{
	my ($self) = @_;
	return unless $self->{stream};
	syswrite($self->{stream}, 'X' . pack('N', 4));
	CORE::close $self->{stream};
	$self->{stream} = undef;
	return;
}

# drop() breaks the connection off without a word; what was not yet read is lost.
sub drop
{
	my ($self) = @_;
	$self->{stream}->setsockopt(SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
	  unless defined $self->{options}{socket};
	CORE::close $self->{stream};
	$self->{stream} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($@, $!, $?);
	CORE::close $self->{stream} if $self->{stream};
	return;
}

package BiometricAudit::Wire::Result;

# The messages of one exchange, in the order they came.

sub new { return bless { messages => [], row_count => 0, eof => 0 }, $_[0]; }

# add(result) appends another result's messages.
sub add
{
	my ($self, $other) = @_;
	push @{ $self->{messages} }, @{ $other->{messages} };
	$self->{row_count} += $other->{row_count};
	$self->{eof} ||= $other->{eof};
	return $self;
}

sub messages { return @{ $_[0]->{messages} }; }
sub eof      { return $_[0]->{eof}; }

# row_count() counts DataRows, also those that an on_row callback took.
sub row_count { return $_[0]->{row_count}; }

# types() is the sequence of message types as a string: "1TD...".
sub types
{
	return join '', map { $_->{type} } $_[0]->messages;
}

# of(type) returns the messages of a type, count(type) their number.
sub of
{
	my ($self, $type) = @_;
	return grep { $_->{type} eq $type } $self->messages;
}
sub count { my ($self, $type) = @_; return scalar(my @found = $self->of($type)); }

# rows() is a list of array references; row(n) one of them; column(n) one
# value of each; value() the first value of the first row.
sub rows
{
	return map { $_->{values} } $_[0]->of('D');
}
sub row { return ($_[0]->rows)[ $_[1] ]; }

sub column
{
	my ($self, $n) = @_;
	return map { $_->[$n] } $self->rows;
}

sub value
{
	my ($self) = @_;
	my ($first) = $self->rows;
	return defined $first ? $first->[0] : undef;
}

# columns() describes the result: a list of hashes with name, type, format, ...
sub columns { my ($first) = $_[0]->of('T'); return $first ? @{ $first->{columns} } : (); }

# tags() are the command tags.
sub tags
{
	return map { $_->{tag} } $_[0]->of('C');
}

# error() is the fields of the first ErrorResponse by their one-letter codes,
# or undef; sqlstate, message, detail, hint are four of them.
sub error    { my ($first) = $_[0]->of('E'); return $first ? $first->{fields} : undef; }
sub sqlstate { return ($_[0]->error // {})->{C}; }
sub message  { return ($_[0]->error // {})->{M}; }
sub detail   { return ($_[0]->error // {})->{D}; }
sub hint     { return ($_[0]->error // {})->{H}; }

# notices() are the fields of the NoticeResponses.
sub notices
{
	return map { $_->{fields} } $_[0]->of('N');
}

# copied() is everything that COPY sent.
sub copied
{
	return join '', map { $_->{body} } $_[0]->of('d');
}

1;

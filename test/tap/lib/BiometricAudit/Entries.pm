package BiometricAudit::Entries;

# The entries of ledgers, decoded in Perl from their canonical bytes alone
# (include/core/entry.h), and what was released to a party, counted from them
# by the words of doc/breach-report.md: a second opinion on affected() and
# breach_report().
#
#   my $entries = BiometricAudit::Entries->read($node, 'postgres');
#   my @report = $entries->report('hauler', $from, $until, %known);

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use POSIX qw(strftime);

my %event = (
	1 => 'session', 2 => 'statement', 3 => 'disclosed', 4 => 'observed', 7 => 'stored', 8 => 'replaced',
	12 => 'aborted');
my %kind = (1 => 'face', 2 => 'plate', 3 => 'document', 4 => 'fingerprint', 5 => 'iris');
my %tag = (
	1 => 'image_id', 2 => 'kind', 3 => 'relation_index', 4 => 'permit', 6 => 'party', 7 => 'network',
	9 => 'session_user_name', 12 => 'purpose', 15 => 'relations', 20 => 'relation', 21 => 'operation',
	24 => 'row_key', 25 => 'transaction', 27 => 'collected', 28 => 'digest', 29 => 'key',
	30 => 'picture_hash');
my %is_number = map { $_ => 1 } qw(kind relation_index permit operation transaction key);

sub _number { my $value = 0; $value = $value * 256 + $_ foreach unpack('C*', $_[0]); return $value; }

# decode(bytes): what an entry says; at in microseconds since 1970.
sub decode
{
	my ($bytes) = @_;
	my (undef, $code, $at, $reference) = unpack('C C q> q>', $bytes);
	my %entry = (event => $event{$code} // "event $code", at => $at, reference => $reference);
	my $place = 18;
	while ($place < length $bytes)
	{
		my $number = ord substr($bytes, $place++, 1);
		my ($length, $shift) = (0, 0);
		while (1)
		{
			my $byte = ord substr($bytes, $place++, 1);
			$length |= ($byte & 127) << $shift;
			$shift += 7;
			last if $byte < 128;
		}
		my $value = substr($bytes, $place, $length);
		my $name = $tag{$number} // "tag $number";
		$entry{$name} = $is_number{$name} ? _number($value) : $value;
		$place += $length;
	}
	return \%entry;
}

# read(node, database): the entries of all logs that count there.
sub read
{
	my ($class, $node, $database) = @_;
	my %logs;
	my @rows = $node->admin($database)->query(<<'END')->rows;
SELECT e.log_id, e.seq, encode(e.entry, 'hex') FROM biometric.entry AS e JOIN biometric.log AS l USING (log_id)
WHERE l.ordinal IS NOT NULL OR l.adopted_at IS NOT NULL
END
	$logs{ $_->[0] }[ $_->[1] ] = decode(pack 'H*', $_->[2]) foreach @rows;
	return bless { logs => \%logs }, $class;
}

# of(event): all entries of an event, of all logs.
sub of
{
	my ($self, $event) = @_;
	return grep { $_->{event} eq $event } map { grep { defined } @$_ } values %{ $self->{logs} };
}

sub _relation
{
	my ($log, $entry) = @_;
	return $entry->{relation} if defined $entry->{relation} || !$entry->{relation_index};
	my $statement = $log->[ $entry->{reference} ];
	return (split /\n/, $statement->{relations})[ $entry->{relation_index} - 1 ];
}

# Statement and session that an entry refers to.
sub _context
{
	my ($log, $entry) = @_;
	my $statement = $entry->{reference} < 0 ? {} : $log->[ $entry->{reference} ];
	return ({}, $statement) if ($statement->{event} // '') eq 'session';
	return ($statement, ($statement->{reference} // -1) < 0 ? {} : $log->[ $statement->{reference} ]);
}

my $json = JSON::PP->new->utf8->allow_nonref;

# An object as jsonb prints it: members by the length of their names, then by their bytes.
sub _sorted
{
	my ($object) = @_;
	return '{' . join(', ', map { $json->encode($_) . ': ' . (ref $object->{$_} eq 'HASH' ? _sorted($object->{$_}) : $json->encode($object->{$_})) }
		  sort { length $a <=> length $b || $a cmp $b } keys %$object) . '}';
}

# The member of a JSON object: an object as jsonb prints it, any other value as it is.
sub _member
{
	my ($collected, $name) = @_;
	my $value = defined $collected ? $json->decode($collected)->{$name} : undef;
	return ref $value eq 'HASH' ? _sorted($value) : $value;
}

# What a log says of each image: its changes that came to stay, in the log's order, and
# by "relation row_key" what the last that says anything says was collected.
sub _histories
{
	my ($log) = @_;
	my %aborted = map { $_->{transaction} => 1 } grep { defined && $_->{event} eq 'aborted' } @$log;
	my %histories;
	foreach my $number (0 .. $#$log)
	{
		my $entry = $log->[$number];
		next unless defined $entry && $entry->{event} =~ /^(?:stored|replaced)$/ && !$aborted{ $entry->{transaction} // 0 };
		my $named = _relation($log, $entry) // '';
		my $name = "$named " . ($entry->{row_key} // '');
		my $history = $histories{ $entry->{image_id} } //= { changes => [], collected => {} };
		push @{ $history->{changes} }, { %$entry, number => $number, named => $named, name => $name };
		$history->{collected}{$name} = $entry->{collected} if defined $entry->{collected};
	}
	return \%histories;
}

# The rows that held an image before an entry: by their names, what was collected of them.
sub _held
{
	my ($histories, $image, $relation, $number) = @_;
	my $history = $histories->{$image} // { changes => [], collected => {} };
	my @changes = grep { $_->{number} < $number } @{ $history->{changes} };
	my @same = grep { $_->{named} eq ($relation // "\0") } @changes;
	return {
		map { $_->{name} => { relation => $_->{named}, row_key => $_->{row_key}, collected => $history->{collected}{ $_->{name} } } }
		  @same ? @same : @changes };
}

# released(party, from, until): each disclosure with all that it counts for; times in
# microseconds since 1970, from inclusive, until exclusive, undef for no limit.
sub released
{
	my ($self, $party, $from, $until) = @_;
	my @released;
	foreach my $log (values %{ $self->{logs} })
	{
		my $histories = _histories($log);
		foreach my $number (0 .. $#$log)
		{
			my $entry = $log->[$number];
			next unless defined $entry && $entry->{event} =~ /^(?:disclosed|observed)$/;
			next if defined $from && $entry->{at} < $from || defined $until && $entry->{at} >= $until;
			my ($statement, $session) = _context($log, $entry);
			next unless ($session->{party} // '') eq $party;
			my $relation = _relation($log, $entry);
			push @released, {
				image => unpack('H*', $entry->{image_id}),
				at => $entry->{at},
				kind => $kind{ $entry->{kind} },
				relation => $relation,
				authorization => $entry->{permit},
				purpose => $statement->{purpose},
				network => $session->{network},
				login => $session->{session_user_name},
				day => strftime('%Y-%m-%d', gmtime int($entry->{at} / 1e6)),
				rows => _held($histories, $entry->{image_id}, $relation, $number)
			};
		}
	}
	return @released;
}

# entries_of(party, log, first, last): how many entries of a log are a party's, but for
# those of sessions and statements themselves.
sub entries_of
{
	my ($self, $party, $log_id, $first, $last) = @_;
	my $log = $self->{logs}{$log_id};
	my $count = 0;
	foreach my $entry (grep { defined } @$log[ $first .. $last ])
	{
		next if $entry->{event} =~ /^(?:session|statement)$/ || $entry->{reference} < 0;
		my (undef, $session) = _context($log, $entry);
		$count++ if ($session->{event} // '') eq 'session' && ($session->{party} // '') eq $party;
	}
	return $count;
}

sub _figures
{
	my ($releases, $passes) = @_;
	my (%images, %rows, %subjects);
	foreach my $release (@$releases)
	{
		$images{ $release->{image} } = 1;
		foreach my $name (keys %{ $release->{rows} })
		{
			my $row = $release->{rows}{$name};
			next unless $passes->($row);
			$rows{$name} = 1;
			my $subject = _member($row->{collected}, 'subject');
			$subjects{"$row->{relation} $subject"} = 1 if defined $subject;
		}
	}
	my @times = sort { $a <=> $b } map { $_->{at} } @$releases;
	return join ' ', @times ? 't' : 'f', scalar(@$releases), scalar(keys %images), scalar(keys %rows),
	  scalar(keys %subjects), $times[0] // '-', $times[-1] // '-';
}

my %collected = (
	place => sub { return _member($_[0]{collected}, 'place'); },
	collected_on => sub { my $time = _member($_[0]{collected}, 'time'); return defined $time ? substr($time, 0, 10) : undef; });

# The values that a release counts for, each once; undef is one of them.
sub _values
{
	my ($dimension, $release) = @_;
	my $of_row = $collected{$dimension};
	return $dimension eq 'total' ? undef : $release->{$dimension} unless $of_row;
	my %values = map { $_ // '' => 1 } map { $of_row->($_) } values %{ $release->{rows} };
	return %values ? map { $_ eq '' ? undef : $_ } keys %values : undef;
}

sub _in_order
{
	my ($dimension) = @_;
	my $place = 0;
	my %place = map { $_ => $place++ } map { $kind{$_} } 1 .. 5;
	return sub { return $place{ $_[0] } <=> $place{ $_[1] }; } if $dimension eq 'kind';
	return sub { return $_[0] <=> $_[1]; } if $dimension eq 'authorization';
	return sub { return $_[0] cmp $_[1]; };
}

# report(party, from, until, dimension => [values that are known there, ...], ...): the rows
# of breach_report(), "dimension value taken disclosures images rows subjects first last".
sub report
{
	my ($self, $party, $from, $until, %known) = @_;
	my @released = $self->released($party, $from, $until);
	my @report;
	$known{kind} = [ values %kind ];
	foreach my $dimension (qw(total kind relation authorization purpose network login day place collected_on))
	{
		my %by = map { $_ => [] } @{ $known{$dimension} // [] };
		my @without;
		foreach my $release (@released)
		{
			push @{ defined $_ ? $by{$_} //= [] : \@without }, $release foreach _values($dimension, $release);
		}
		my $order = _in_order($dimension);
		my $of_row = $collected{$dimension};
		foreach my $value (sort { $order->($a, $b) } keys %by)
		{
			push @report, "$dimension $value " . _figures($by{$value},
				sub { return !$of_row || ($of_row->($_[0]) // '') eq $value; });
		}
		push @report, "$dimension - " . _figures(\@without, sub { return !$of_row || !defined $of_row->($_[0]); })
		  if @without || $dimension eq 'total';
	}
	return @report;
}

# affected(party, from, until): the rows of affected(), in order of their texts,
# "image kind relation row_key first last times".
sub affected
{
	my ($self, @question) = @_;
	my %affected;
	foreach my $release ($self->released(@question))
	{
		my @rows = values %{ $release->{rows} };
		@rows = ({ relation => $release->{relation} }) unless @rows;
		foreach my $row (@rows)
		{
			push @{ $affected{ join ' ', $release->{image}, $release->{kind}, $row->{relation} // '-',
				$row->{row_key} // '-' } }, $release->{at};
		}
	}
	return sort map {
		my @times = sort { $a <=> $b } @{ $affected{$_} };
		join ' ', $_, $times[0], $times[-1], scalar @times
	} keys %affected;
}

1;

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
	1 => 'session', 2 => 'statement', 3 => 'disclosed', 4 => 'observed', 7 => 'stored', 8 => 'replaced', 9 => 'erased',
	12 => 'aborted', 15 => 'purged');
my $reseal = 9;    # the operation of an entry that says nothing of where an image is
my %kind = (1 => 'face', 2 => 'plate', 3 => 'document', 4 => 'fingerprint', 5 => 'iris');
my %tag = (
	1 => 'image_id', 2 => 'kind', 3 => 'relation_index', 4 => 'permit', 6 => 'party', 7 => 'network',
	9 => 'session_user_name', 12 => 'purpose', 15 => 'relations', 20 => 'relation', 21 => 'operation', 22 => 'old_image_id',
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
	my $wire = $node->admin($database);
	# those that were adopted are below this database's own
	my @order = $wire->query(<<'END')->column(0);
SELECT log_id FROM biometric.log WHERE ordinal IS NOT NULL OR adopted_at IS NOT NULL ORDER BY ordinal NULLS FIRST, created_at, log_id
END
	my %logs = map { $_ => [] } @order;
	foreach my $row ($wire->query(q{SELECT log_id, seq, encode(entry, 'hex') FROM biometric.entry})->rows)
	{
		$logs{ $row->[0] }[ $row->[1] ] = decode(pack 'H*', $row->[2]) if $logs{ $row->[0] };
	}
	return bless { logs => \%logs, order => \@order }, $class;
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

# What all logs say of each image, in their order: the rows that entries put it into for
# good, and took it out of, where a key tells them from others.
sub _histories
{
	my ($self) = @_;
	my %histories;
	foreach my $place (0 .. $#{ $self->{order} })
	{
		my $log = $self->{logs}{ $self->{order}[$place] };
		my %aborted = map { $_->{transaction} => 1 } grep { defined && $_->{event} eq 'aborted' } @$log;
		foreach my $number (0 .. $#$log)
		{
			my $entry = $log->[$number];
			next unless defined $entry && $entry->{event} =~ /^(?:stored|replaced|erased|purged)$/ && !$aborted{ $entry->{transaction} // 0 };
			next if ($entry->{operation} // 0) == $reseal;
			my $named = _relation($log, $entry) // '';
			my %change = (%$entry, at => [ $place, $number ], named => $named, name => "$named " . ($entry->{row_key} // ''));
			my ($in, $out) = ($entry->{image_id}, $entry->{old_image_id});
			($in, $out) = (undef, $in) if $entry->{event} =~ /^(?:erased|purged)$/;
			push @{ $histories{$in} }, { %change, put => 1 } if defined $in;
			push @{ $histories{$out} }, { %change, put => 0 } if defined $out && defined $entry->{row_key} && $out ne ($in // '');
		}
	}
	return \%histories;
}

sub _below { my ($one, $other) = @_; return $one->[0] < $other->[0] || $one->[0] == $other->[0] && $one->[1] < $other->[1]; }

# A row by its changes: as the latest entry below a release describes it, else the first behind.
sub _row
{
	my ($release, @changes) = @_;
	# what says whom, where or when an image shows; else what says only what it is for
	my @said = grep { defined $_->{collected} } @changes;
	my @told = grep { $_->{collected} =~ /"(?:of|subject|place|time)":/ } @said;
	@told = @said unless @told;
	my @before = grep { _below($_->{at}, $release) } @told;
	my $told = @before ? $before[-1] : $told[0];
	my $collected = $told ? $told->{collected} : undef;
	my $subject = _member($collected, 'subject');
	return {
		relation => $changes[0]{named}, row_key => $changes[0]{row_key}, collected => $collected,
		person => defined $subject ? (_member($collected, 'of') // $changes[0]{named}) . " $subject" : undef,
		tells => defined $subject ? 2 : defined $changes[0]{row_key} ? 1 : 0
	};
}

# The rows that held an image when it was released: by their names. release, statement:
# where their entries are.
sub _held
{
	my ($history, $relation, $release, $statement) = @_;
	my (%changes, %rows, %left);
	push @{ $changes{ $_->{name} } }, $_ foreach @{ $history // [] };
	foreach my $name (keys %changes)
	{
		my @puts = grep { $_->{put} } @{ $changes{$name} };
		my ($last) = reverse grep { _below($_->{at}, $release) } @puts;
		next unless $last;
		$rows{$name} = _row($release, @puts);
		$left{$name} = !grep { !$_->{put} && _below($last->{at}, $_->{at}) && _below($_->{at}, $statement) } @{ $changes{$name} };
	}
	unless (%rows)
	{
		my ($first) = grep { $_->{put} } @{ $history // [] };
		return $first ? { $first->{name} => _row($release, grep { $_->{put} } @{ $changes{ $first->{name} } }) } : {};
	}
	my ($best) = sort { $b <=> $a } map { $_->{tells} } values %rows;
	foreach my $set (
		sub { return $left{ $_[0] } && $rows{ $_[0] }{relation} eq ($relation // "\0"); },
		sub { return $left{ $_[0] }; },
		sub { return 1; })
	{
		my @names = grep { $set->($_) } keys %rows;
		return { map { $_ => $rows{$_} } @names } if grep { $rows{$_}{tells} == $best } @names;
	}
	return \%rows;
}

# released(party, from, until): each disclosure with all that it counts for; times in
# microseconds since 1970, from inclusive, until exclusive, undef for no limit.
sub released
{
	my ($self, $party, $from, $until) = @_;
	my @released;
	my $histories = $self->_histories;
	foreach my $place (0 .. $#{ $self->{order} })
	{
		my $log = $self->{logs}{ $self->{order}[$place] };
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
				rows => _held($histories->{ $entry->{image_id} }, $relation, [ $place, $number ], [ $place, $entry->{reference} ])
			};
		}
	}
	return @released;
}

# releases_of(party, log, first, last): how many entries of a log are releases to a party.
sub releases_of
{
	my ($self, $party, $log_id, $first, $last) = @_;
	my $log = $self->{logs}{$log_id};
	my $count = 0;
	foreach my $entry (grep { defined } @$log[ $first .. $last ])
	{
		next unless $entry->{event} =~ /^(?:disclosed|observed)$/;
		my (undef, $session) = _context($log, $entry);
		$count++ if ($session->{event} // '') eq 'session' && ($session->{party} // '') eq $party;
	}
	return $count;
}

# stored_in(log, first, last): the images that some entries of a log put into rows.
sub stored_in
{
	my ($self, $log_id, $first, $last) = @_;
	my @changes = grep { defined && $_->{event} =~ /^(?:stored|replaced)$/ } @{ $self->{logs}{$log_id} }[ $first .. $last ];
	my %images = map { unpack('H*', $_->{image_id}) => 1 } @changes;
	return keys %images;
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
			$subjects{ $row->{person} } = 1 if defined $row->{person};
		}
	}
	my @times = sort { $a <=> $b } map { $_->{at} } @$releases;
	return join ' ', @times ? 't' : 'f', scalar(@$releases), scalar(keys %images), scalar(keys %rows),
	  scalar(keys %subjects), $times[0] // '-', $times[-1] // '-';
}

my %collected = (
	place => sub { return _member($_[0]{collected}, 'place'); },
	collected_for => sub { return _member($_[0]{collected}, 'for'); },
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
	foreach my $dimension (qw(total kind relation authorization purpose network login day place collected_on collected_for))
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

package BiometricAudit::Forgery;

# What somebody does who knows how a ledger is made: writes its entries anew,
# and everything above them so that it agrees. In SQL, for a server that runs
# without the library.

use strict;
use warnings;

use Exporter qw(import);

use BiometricAudit::Archive;

our @EXPORT_OK = qw(forged forged_root literal);

use constant { GROUP => 32, SEGMENT => 1024 };

# literal(bytes): of bytea.
sub literal { return q{'\\x} . unpack('H*', $_[0]) . q{'::bytea}; }

# The hashes above full groups of entries, and the leaf hashes behind them.
sub hashes_of
{
	my ($log, $entries, $size) = @_;
	my @kept = @{ $log->{kept} };
	my @groups;
	while ((@groups + 1) * GROUP <= $size)
	{
		my $first = @groups * GROUP;
		push @groups,
		  exists $entries->{$first}
		  ? BiometricAudit::Archive::root(map { BiometricAudit::Archive::leaf($entries->{$_}) }
			  $first .. $first + GROUP - 1)
		  : $kept[@groups];
	}
	my @tail = map { BiometricAudit::Archive::leaf($entries->{$_}) } @groups * GROUP .. $size - 1;
	return (\@groups, \@tail);
}

# forged_root(log, entries, size): the root over them. log: as BiometricAudit::Tampered's.
sub forged_root
{
	my ($groups, $tail) = hashes_of(@_);
	return BiometricAudit::Archive::root(@$groups,
		@$tail ? BiometricAudit::Archive::root(@$tail) : ());
}

# forged(log, entries, size): the statements after which the log has the
# entries up to size, and tiles and head row agree.
sub forged
{
	my ($log, $entries, $size) = @_;
	my $own = "log_id = '$log->{id}'";
	my ($groups, $tail) = hashes_of($log, $entries, $size);
	my @sql;
	foreach my $seq (grep { $_ < $size } sort { $a <=> $b } keys %$entries)
	{
		next if ($log->{entries}{$seq} // '') eq $entries->{$seq};
		my $table = sprintf 'biometric.entry_%02d', int($seq / SEGMENT) % 16;
		my $hint = unpack 'l', pack 'L',
		  unpack('N', BiometricAudit::Archive::leaf($entries->{$seq})) ^ $seq;
		push @sql, "DELETE FROM $table WHERE $own AND seq = $seq",
		  "INSERT INTO $table VALUES ('$log->{id}', $seq, $hint, "
		  . literal($entries->{$seq}) . ')';
	}
	push @sql,
	  map { "DELETE FROM biometric.$_ WHERE $own AND seq >= $size" }
	  (map { sprintf 'entry_%02d', $_ } 0 .. 15), 'image_entry';
	push @sql, "DELETE FROM biometric.tile WHERE $own";
	for (my $index = 0; ($index + 1) * GROUP <= @$groups; $index++)
	{
		my $hashes = join '', @$groups[ $index * GROUP .. ($index + 1) * GROUP - 1 ];
		push @sql,
		  "INSERT INTO biometric.tile VALUES ('$log->{id}', 1, $index, " . literal($hashes) . ')';
	}
	push @sql,
		"UPDATE biometric.head SET size = $size, settled = least(settled, $size), tail = "
	  . literal(join '', @$tail)
	  . ', root = '
	  . literal(forged_root(@_))
	  . " WHERE $own";
	return @sql;
}

1;

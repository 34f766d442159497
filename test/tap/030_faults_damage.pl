# The ledger's files are torn, truncated or changed while the server is down:
# the worker at its start or verify_ledger() says so, and what the worker
# finds keeps everything from being released.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node qw(poll_until);

use constant { OFFICE => '127.0.0.2', PAGE => 8192, READS => 24, PICTURES => 50 };

my $read = 'SELECT img FROM traveller';

sub write_at
{
	my ($path, $position, $bytes) = @_;
	open my $file, '+<:raw', $path or die "$path: $!";
	seek($file, $position, 0);
	print $file $bytes;
	return close $file;
}

sub bytes_at
{
	my ($path, $position, $length) = @_;
	open my $file, '<:raw', $path or die "$path: $!";
	seek($file, $position, 0);
	read($file, my $bytes, $length);
	return $bytes;
}

sub shorten { my ($path, $pages) = @_; return truncate($path, (-s $path) - $pages * PAGE); }
sub page    { my ($path, $page)  = @_; return $page < 0 ? (-s $path) / PAGE + $page : $page; }

sub zero
{
	my ($path, $page) = @_;
	return write_at($path, page($path, $page) * PAGE, "\0" x PAGE);
}

# Changes a byte at the end of a row, of an entry or a tile: of the newest row
# on the last page, else of the first one on the page.
sub flip
{
	my ($path, $page) = @_;
	my $position = page($path, $page) * PAGE;
	my $bytes = bytes_at($path, $position, PAGE);
	my $row = $page < 0 ? (unpack('x12 v', $bytes) - 24) / 4 - 1 : 0;
	my $pointer = unpack('V', substr($bytes, 24 + 4 * $row, 4));
	$position += ($pointer & 0x7fff) + ($pointer >> 17) - 2;
	return write_at($path, $position, chr(ord(bytes_at($path, $position, 1)) ^ 0x20));
}

# Whether all pictures come, sooner or later: the ledger may not answer in time at once.
sub is_served
{
	my ($wire) = @_;
	return poll_until(sub { $wire->query($read)->row_count == PICTURES });
}

# What happens, to which file, and how; whether the worker must find it when it starts.
my @all = (
	[ 'nothing', 'entry', sub { } ],
	[ 'the last page is cut off', 'entry', sub { shorten($_[0], 1) }, 'worker' ],
	[ 'the last three pages are cut off', 'entry', sub { shorten($_[0], 3) }, 'worker' ],
	[ 'half of the last page is cut off', 'entry', sub { truncate($_[0], (-s $_[0]) - PAGE / 2) }, 'worker' ],
	[ 'all pages are cut off', 'entry', sub { truncate($_[0], 0) }, 'worker' ],
	[ 'the last page is zeros', 'entry', sub { zero($_[0], -1) }, 'worker' ],
	[ 'a page in the middle is zeros', 'entry', sub { zero($_[0], 2) } ],
	[ 'a byte of the last page is another', 'entry', sub { flip($_[0], -1) }, 'worker' ],
	[ 'a byte in the middle is another', 'entry', sub { flip($_[0], 2) } ],
	[ 'the file is gone', 'entry', sub { unlink $_[0] }, 'worker' ],
	[ 'the last page is cut off', 'entry_key', sub { shorten($_[0], 1) }, 'worker' ],
	[ 'the last page is zeros', 'entry_key', sub { zero($_[0], -1) }, 'worker' ],
	[ 'the file is gone', 'entry_key', sub { unlink $_[0] }, 'worker' ],
	[ 'all pages are cut off', 'tile', sub { truncate($_[0], 0) }, 'worker' ],
	[ 'the first page is zeros', 'tile', sub { zero($_[0], 0) }, 'worker' ],
	[ 'a byte is another', 'tile', sub { flip($_[0], 0) } ],
	[ 'all pages are cut off', 'head', sub { truncate($_[0], 0) }, 'worker' ],
	[ 'the first page is zeros', 'head', sub { zero($_[0], 0) }, 'worker' ],
	[ 'all pages are cut off', 'log', sub { truncate($_[0], 0) }, 'worker' ]);

foreach my $checksums (0, 1)
{
	# With checksums nothing is different but what a changed byte leads to.
	my @damages = grep { !$checksums || $_->[0] =~ /nothing|byte/ } @all;
	my $with = $checksums ? 'with checksums' : 'without checksums';
	my $node = BiometricAudit::Node->create(
		$checksums ? 'summed' : 'plain',
		initdb => $checksums ? ['--data-checksums'] : [],
		conf => "max_worker_processes = 60\nbiometric_audit.max_databases = 30\n"
		  . "biometric_audit.ring_size = '256kB'\nbiometric_audit.policy_size = '256kB'\n");
	$node->sql('postgres', 'CREATE DATABASE original');
	furnish($node, 'original');
	my $officer = sub { $node->connect_from(OFFICE, $_[0], 'officer', 'border_control') };
	my %path;
	foreach my $n (0 .. $#damages)
	{
		$node->sql('postgres', "CREATE DATABASE d$n");
		furnish($node, "d$n");
		my $wire = $officer->("d$n");
		$wire->query($read) for 1 .. READS;
		my %relation = (
			entry => "(SELECT oid FROM pg_class WHERE relnamespace = 'biometric'::regnamespace
				AND relkind = 'r' AND relname ~ '^entry' ORDER BY pg_relation_size(oid) DESC LIMIT 1)",
			tile => q{'biometric.tile'::regclass},
			head => q{'biometric.head'::regclass},
			log => q{'biometric.log'::regclass});
		$relation{entry_key} =
		  "(SELECT indexrelid FROM pg_index WHERE indisprimary AND indrelid = $relation{entry})";
		$path{"d$n"} = $node->data_dir . '/'
		  . $node->sql("d$n", "SELECT pg_relation_filepath($relation{$damages[$n][1]})");
		ok($node->verifies("d$n"), "d$n verifies") if $n == 0;
		$node->leave("d$n");
	}
	$node->stop;
	cmp_ok((-s $path{d0}) / PAGE, '>=', 5, 'entries fill some pages');
	$damages[$_][2]->($path{"d$_"}) foreach 0 .. $#damages;
	$node->append_conf('postgresql.conf', "biometric_audit.ledger_timeout = '1s'");
	$node->start;
	foreach my $whole (qw(d0 original))
	{
		poll_until(sub { $node->sql($whole, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
		$node->leave($whole);
	}

	foreach my $n (0 .. $#damages)
	{
		my ($what, $where, undef, $worker) = @{ $damages[$n] };
		subtest "$with: $where: $what" => sub {
			if ($n == 0)
			{
				ok(is_served($officer->("d$n")), 'pictures are released');
				ok($node->verifies("d$n"), 'and the ledger verifies');
				return;
			}
			my $result = $officer->("d$n")->query($read);
			my $released = $result->row_count;
			if ($worker)
			{
				is($released, 0, 'nothing is released');
				like($result->sqlstate // 'none', qr/^(55000|42501)$/, $result->message // 'no error');
				like($result->detail // '', qr/\w.*\.$/s, 'with the reason: ' . ($result->detail // ''));
			}
			my $answer = $node->admin("d$n")->query('SELECT ok, problem FROM biometric.verify_ledger()');
			if ($answer->error)
			{
				like($answer->sqlstate, qr/^(XX|58)/, 'verify_ledger() fails: ' . $answer->message);
			}
			else
			{
				my ($ok, $problem) = @{ $answer->row(0) };
				is($ok, 'f', 'verify_ledger() finds it: ' . ($problem // ''));
			}
		};
	}
	ok(is_served($officer->('original')), 'other databases are served');
	ok($node->verifies('original'), 'and verify');
	$node->stop;
}

done_testing();

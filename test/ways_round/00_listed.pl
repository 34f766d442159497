# The documentation lists every way that is tried here, with what comes of it.
#
# With WAYS_WRITE=file the tables are written to that file instead, to be put
# into doc/ways-out.md.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node;

my $list = PostgreSQL::Test::Utils::tempdir() . '/ways';
my @files = grep { !m{/(?:00_listed|06_random)\.pl$} } sort glob "$FindBin::RealBin/*.pl";
foreach my $file (@files)
{
	local $ENV{WAYS_LIST} = $list;
	local $ENV{TESTDATADIR} = PostgreSQL::Test::Utils::tempdir();
	local $ENV{TESTLOGDIR} = PostgreSQL::Test::Utils::tempdir();
	run_log([ $^X, $file ]);
	append_to_file($list, "\n");
}
my $ways = slurp_file($list);
if ($ENV{WAYS_WRITE})
{
	append_to_file($ENV{WAYS_WRITE}, $ways);
}
my $page = slurp_file("$FindBin::RealBin/ways-out.md");
my @ways = grep { /^\|/ } split /\n/, $ways;
my @missing = grep { index($page, $_) < 0 } @ways;
cmp_ok(scalar @ways, '>=', 60, scalar(@ways) . ' ways');
is(join("\n", @missing), '', 'doc/ways-out.md lists each of them as it is tried');
my %is_way = map { $_ => 1 } @ways;
my @gone = grep { /^\| / && !$is_way{$_} && !/^\| way \|/ } split /\n/, $page;
is(join("\n", @gone), '', 'and no other');
done_testing();

# What a suite fails of is told where everybody sees it: its last words among its tests, and
# the ends of its logs when everything is over.

use strict;
use warnings;

use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node;

my $library = dirname(__FILE__) . '/../lib';
my $dir = PostgreSQL::Test::Utils::tempdir();

# run_suite(name, text): a suite of that text, as test/run has it run; its standard output, its
# standard error, and the names of suites that have failed.
sub run_suite
{
	my ($name, $text) = @_;
	# servers from 16 on have names of their own for the places below
	local %ENV = (%ENV, TESTDIR => $dir, TESTDATADIR => "$dir/tmp_check", TESTLOGDIR => "$dir/tmp_check/log");
	open my $file, '>', "$dir/$name.pl" or die "$dir/$name.pl: $!";
	print $file "use PostgreSQL::Test::Utils;\nuse Test::More;\nuse BiometricAudit::Node;\n$text";
	CORE::close $file;
	unlink "$dir/failed";
	my ($out, $errors) = run_command([ 'env', '-C', $dir, "$library/suite", "$dir/$name.pl" ]);
	return ($out, $errors, -e "$dir/failed" ? slurp_file("$dir/failed") : '');
}

sub last_lines
{
	my ($name, @lines) = @_;
	my ($out) = run_command([ "$library/last-lines", $name, "$dir/tmp_check/log", @lines ]);
	return $out;
}

subtest 'a suite that passes is not said to have failed' => sub {
	my ($out, $errors, $failed) = run_suite('passes', "ok(eval { die 'in vain' } || 1, 'fine');\ndone_testing();\n");
	is($out, "ok 1 - fine\n1..1", 'it passes');
	is($errors, '', 'what is caught is nobody\'s last word');
	is($failed, '', 'it has not failed');
};

subtest 'what a suite dies of is said among its tests' => sub {
	my ($out, $errors, $failed) = run_suite('dies', "die 'the sky fell';\n");
	like($errors, qr/^# died: the sky fell at /m, 'a comment says it');
	is($failed, "dies\n", 'it has failed');
	like(last_lines('dies'), qr/the end of its log\n(?:.*\n)*.*died: the sky fell at /, 'and so does the end of its log');
};

subtest 'so is what a subtest dies of' => sub {
	my ($out, $errors, $failed) = run_suite('dies_within', "subtest 'inner' => sub { die 'the floor gave way' };\ndone_testing();\n");
	like($errors, qr/^# died: the floor gave way at /m, 'a comment says it');
	is($failed, "dies_within\n", 'it has failed');
};

subtest 'a suite that is killed has failed, too' => sub {
	my ($out, $errors, $failed) = run_suite('killed', "kill 'KILL', \$\$;\n");
	is($failed, "killed\n", 'it has no last words, but a name');
};

subtest 'failed tests are shown, and the ends of the logs, but no more than so many lines' => sub {
	my ($out, $errors, $failed) = run_suite('fails', <<'END');
pass('before');
subtest 'inner' => sub { is(1, 2, 'a sum'); pass('another'); done_testing(); };
note "line $_" foreach 1 .. 100;
done_testing();
END
	is($failed, "fails\n", 'it has failed');
	append_to_file("$dir/tmp_check/log/fails_one.log", join '', map { "one $_\n" } 1 .. 100);
	append_to_file("$dir/tmp_check/log/failsafe_two.log", "two\n");
	append_to_file("$dir/tmp_check/log/fails_three.log", "three \e[2J\xff\n");
	my $told = last_lines('fails', 20);
	like($told, qr/not ok 1 - a sum\n *#   Failed test 'a sum'(?:\n *#.*)*\n *# +got: '1'/, 'the test that failed, and how');
	unlike($told, qr/ok \d - (?:before|another)/, 'not those that passed');
	like($told, qr/^one 100$/m, 'the end of a server\'s log');
	unlike($told, qr/^one 80$/m, 'not all of it');
	unlike($told, qr/^two$/m, 'nor another suite\'s');
	like($told, qr/^three \?\[2J\?$/m, 'and nothing that a terminal would follow');
	cmp_ok(scalar(() = $told =~ /\n/g), '<=', 4 * 21, 'all of it is bounded');
};

done_testing();

# Clients that really are on another network: loopback addresses are the
# server's own and follow a rule of their own, so here the server and its
# clients live in two network namespaces with a wire between them.

use strict;
use warnings;

my @namespace;

BEGIN
{
	@namespace = qw(unshare --user --map-current-user --net --keep-caps);
	if (!$ENV{BIOMETRIC_AUDIT_NAMESPACE})
	{
		if (system("@namespace ip link add name near type veth peer name far >/dev/null 2>&1") != 0)
		{
			print "1..0 # SKIP this machine gives users no network namespaces\n";
			exit 0;
		}
		$ENV{BIOMETRIC_AUDIT_NAMESPACE} = 1;
		exec @namespace, $^X, (map { "-I$_" } @INC), $0, @ARGV;
	}
}

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(numbered_jpeg);
use BiometricAudit::Wire;

use constant CLONE_NEWNET => 0x40000000;

chomp(my $machine = `uname -m`);
my %calls = (x86_64 => [ 308, 272 ], aarch64 => [ 268, 97 ]);
plan skip_all => "system calls of $machine are not known" unless $calls{$machine};
my ($setns, $unshare) = @{ $calls{$machine} };

# A child holds the clients' namespace open until its pipe is closed.
pipe(my $child_waits, my $parent_holds);
pipe(my $parent_waits, my $child_is_there);
my $child = fork;
if (!$child)
{
	close $parent_holds;
	syscall($unshare, CLONE_NEWNET) == 0 or POSIX::_exit(1);
	syswrite($child_is_there, 'x');
	sysread($child_waits, my $nothing, 1);
	kill 'KILL', $$;
}
sysread($parent_waits, my $there, 1);
open my $here, '<', '/proc/self/ns/net';
open my $yonder, '<', "/proc/$child/ns/net";

# Runs something in the clients' namespace; a socket opened there stays there.
sub yonder
{
	my ($what) = @_;
	syscall($setns, fileno $yonder, CLONE_NEWNET) == 0 or die "setns: $!";
	my @answer = eval { $what->() };
	my $error = $@;
	syscall($setns, fileno $here, CLONE_NEWNET) == 0 or die "setns: $!";
	die $error if $error;
	return $answer[0];
}

sub ip { return system_or_bail('ip', @_); }

ip(qw(link add name near type veth peer name far));
ip(qw(link set dev far netns), $child);
ip(qw(addr add 10.9.0.1/16 dev near));
ip(qw(addr add fd09::1/64 dev near nodad));
ip(qw(link set dev), $_, "up") foreach qw(lo near);
yonder(
	sub {
		ip(qw(addr add), "10.9.$_/16", qw(dev far))        foreach qw(0.2 1.2 1.3 2.2);
		ip(qw(addr add), "fd09::$_/64", qw(dev far nodad)) foreach qw(2 1:2 2:2);
		ip(qw(link set dev), $_, "up")                     foreach qw(lo far);
	});

my $db = 'postgres';
my $node = BiometricAudit::Node->create('agency', conf => "listen_addresses = '*'\n", start => 0);
$node->append_conf('pg_hba.conf', "host all all all trust");
$node->start;
$node->prepare($db);
$node->sql(
	$db, q{CREATE TABLE t (img biometric.face_image); GRANT SELECT ON t TO officer;
	INSERT INTO t VALUES (numbered_jpeg(1, 1000)::biometric.face_image)});

sub outcome
{
	my ($address, $server, $away) = @_;
	$server //= $address =~ /:/ ? 'fd09::1' : '10.9.0.1';
	my $connect = sub {
		return BiometricAudit::Wire->connect(
			host => $server,
			local => $address,
			port => $node->port,
			database => $db,
			user => 'officer',
			params => { 'biometric_audit.purpose' => 'p' });
	};
	my $wire = $away // 1 ? yonder($connect) : $connect->();
	my $mark = $node->mark($db);
	my $result = $wire->query('SELECT img FROM t');
	if ($result->error)
	{
		my ($entry) = $node->refusals($db, $mark);
		return $entry ? $entry->{reason} : $result->message;
	}
	my $value = $result->value;
	return
		is_sealed($value)                        ? 'sealed'
	  : opened($value) eq numbered_jpeg(1, 1000) ? 'open'
	  :                                            'wrong';
}

sub network { return $node->policy($db, "SELECT biometric.register_network('$_[0]', '$_[1]')"); }

foreach my $delivery (qw(open sealed refuse))
{
	$node->policy($db,
		"SELECT biometric.register_party('$delivery', 'party $delivery', tstzrange(NULL, NULL))");
	$node->policy($db, "SELECT biometric.authorize('$delivery', '{face}', '$delivery')");
}

subtest 'a client on another network is refused until that network is registered' => sub {
	is(outcome($_), 'unregistered_network', $_) foreach qw(10.9.0.2 10.9.1.2 fd09::2);
};

subtest 'of several networks that hold an IPv4 address the longest prefix decides' => sub {
	network('10.9.0.0/16', 'open');
	is(outcome($_), 'open', "$_ by /16") foreach qw(10.9.0.2 10.9.1.2 10.9.1.3 10.9.2.2);
	network('10.9.1.0/24', 'sealed');
	is(outcome('10.9.1.2'), 'sealed', 'by /24');
	is(outcome('10.9.2.2'), 'open', 'its neighbour by /16');
	network('10.9.1.2/32', 'refuse');
	is(outcome('10.9.1.2'), 'refused_by_permit', 'by /32');
	is(outcome('10.9.1.3'), 'sealed', 'its neighbour by /24');
	network('0.0.0.0/0', 'refuse');
	is(outcome('10.9.0.2'), 'open', 'a default route is the shortest of all');
};

subtest 'of several networks that hold an IPv6 address the longest prefix decides' => sub {
	is(outcome('fd09::2'), 'unregistered_network', 'an IPv4 default route does not hold it');
	network('fd09::/64', 'open');
	is(outcome('fd09::2'), 'open', 'by /64');
	network('fd09::1:0/112', 'sealed');
	is(outcome('fd09::1:2'), 'sealed', 'by /112');
	is(outcome('fd09::2:2'), 'open', 'its neighbour by /64');
	network('fd09::1:2/128', 'refuse');
	is(outcome('fd09::1:2'), 'refused_by_permit', 'by /128');
};

subtest 'the server itself, as a client of its own address, is not its network' => sub {
	is(outcome('10.9.0.1', '10.9.0.1', 0), 'unregistered_network', 'IPv4 to itself');
	is(outcome('127.0.0.1', '127.0.0.1', 0), 'unregistered_network', 'IPv4 by loopback');
	is(outcome('10.9.0.1', '127.0.0.1', 0), 'unregistered_network', 'IPv4 from itself to loopback');
	is(outcome('fd09::1', 'fd09::1', 0), 'unregistered_network', 'IPv6 to itself');
	network('10.9.0.1/32', 'open');
	network('fd09::1/128', 'open');
	is(outcome('10.9.0.1', '10.9.0.1', 0), 'open', 'unless exactly it is registered');
	is(outcome('fd09::1', 'fd09::1', 0), 'open', 'in IPv6, too');
};

ok($node->verifies($db), 'the ledger verifies');
$node->stop;
close $parent_holds;
waitpid $child, 0;

done_testing();

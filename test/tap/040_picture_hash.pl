# Hashing a picture is switched on and bounded by settings, and holds up nobody.

use strict;
use warnings;

use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node;

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';
$node->prepare($db);
$node->sql($db, 'CREATE TABLE visit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, img biometric.face_image)');

my %picture = map { $_ => unpack 'H*', slurp_file(dirname(__FILE__) . "/../images/$_") } qw(astronaut.jpg camera.png);

# enrol(name) stores a picture and returns its hash on record in hexadecimal, '' for none.
sub enrol
{
	my ($name) = @_;
	my $wire = $node->connect_from('local', $db, $node->superuser, undef);
	my $result = $wire->query("INSERT INTO visit (img) VALUES ('\\x$picture{$name}'::bytea) RETURNING id");
	is($result->message, undef, "$name is enrolled");
	my $id = ($result->rows)[0][0];
	$wire->close;
	BiometricAudit::Node::poll_until(
		sub { $node->sql($db, q{SELECT pending = 0 AND state = 'ready' FROM biometric.ledger_status()}) eq 't' });
	return $node->sql($db,
		qq{SELECT coalesce(encode((biometric.decode_entry(biometric.leaf(seq))).picture_hash, 'hex'), '')
		     FROM biometric.change WHERE event = 'stored' AND row_key = '{"id": $id}'});
}

my %hash;
foreach my $name (sort keys %picture)
{
	$hash{$name} = enrol($name);
	like($hash{$name}, qr/^[0-9a-f]{64}$/, "$name has a hash");
}
isnt($hash{'astronaut.jpg'}, $hash{'camera.png'}, 'each its own');

$node->set('biometric_audit.picture_hash', 'off');
is(enrol('astronaut.jpg'), '', 'switched off, images have none');
$node->set('biometric_audit.picture_hash', undef);
is(enrol('astronaut.jpg'), $hash{'astronaut.jpg'}, 'and on again the same as before');

subtest 'what may not be seen of a hash' => sub {
	my $log = slurp_file($node->logfile);
	foreach my $name (sort keys %hash)
	{
		unlike($log, qr/\Q$hash{$name}\E/i, "$name: the log has it not even blinded");
	}
};

# 12,000 x 12,000 pixels, if one believes the header; the picture itself is damaged for it.
subtest 'a picture beyond the limit is enrolled without' => sub {
	my $large = $picture{'astronaut.jpg'};
	$large =~ s/(ffc0001108)[0-9a-f]{8}/${1}2ee02ee0/ or die 'no frame header';
	local $picture{'astronaut.jpg'} = $large;
	is(enrol('astronaut.jpg'), '', 'of too many pixels');
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();

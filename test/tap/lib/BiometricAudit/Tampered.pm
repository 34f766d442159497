package BiometricAudit::Tampered;

# One ledger, many copies of it, each changed in one way by somebody who is
# superuser and starts the server without the library; and what finds it.
#
# The ledger is in database "ledger" and has everything that can be changed: a
# log that was retired, the log that was forked from it, with a detached
# segment, checkpoints and cosignatures, and a restored log that was adopted.
# "older" is a copy from before it grew, "handed" one that was handed over.

use strict;
use warnings;

use Exporter     qw(import);
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(entry write_file read_file);
use BiometricAudit::Node    qw(poll_until);

our @EXPORT = qw(furnish try_tamperings ledger);

use constant { SEGMENT => 1024, AT_ONCE => 24 };

my $place = PostgreSQL::Test::Utils::tempdir();
my $signing = BiometricAudit::Archive->key('none');
my $thief = BiometricAudit::Archive->key('none');
my @witnesses = map { BiometricAudit::Archive->key("witness.example/$_", 4) } qw(one two);
my ($node, %ledger);

# ledger() is a hash: size, log_id, parent and adopted (ids), oid (of the
# database), vkey (the auditor's), outside (checkpoints kept outside, by
# database), entries (by number), kept (hashes of the detached segment's tile),
# checkpoints (notes by size), key and thief (as BiometricAudit::Archive's,
# named after the log), witness (the first one's verifier key).
sub ledger { return \%ledger; }

# ---------------------------------------------------------------- the ledger

sub settle
{
	my ($database) = @_;
	poll_until(
		sub {
			$node->sql($database, <<'END') eq 't';
SELECT s.pending = 0 AND h.settled = s.size FROM biometric.ledger_status() AS s, biometric.head AS h
WHERE h.log_id = s.log_id

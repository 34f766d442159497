# What is changed of the ledger's tables behind the extension's back, and what
# finds it: doc/ledger.md has a table of it, which is made here.
#
# With TAMPER_TABLE=file the table is written to that file, to be put into
# doc/ledger.md.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive;
use BiometricAudit::Forgery  qw(forged forged_root literal);
use BiometricAudit::Tampered qw(furnish try_tamperings);

my $ledger = furnish();
my $id = $ledger->{log_id};
my $log = $ledger->{logs}{$id};
my $parent = $ledger->{logs}{ $ledger->{parent} };
my $adopted = $ledger->{logs}{ $ledger->{adopted} };
my $thief = BiometricAudit::Archive->key($ledger->{key}{name});
my $stranger = BiometricAudit::Archive->key('witness.example/none', 4);
my $size = $log->{size};
my $last = $size - 1;
my ($older, $newest) = (sort { $a <=> $b } keys %{ $log->{checkpoints} })[ -2, -1 ];
my @cases;

cmp_ok($size, '>', 2080, "a ledger of $size entries, 1024 of them detached");
is($newest, $size, 'all of them signed');

# ---------------------------------------------------------------- what is tried

# try(table, column or rows, change, statements, further options): remark says
# what it means when nothing finds it.
sub try
{
	my ($table, $rows, $change, $sql, %options) = @_;
	push @cases,
	  {
		table => $table,
		rows => $rows,
		change => $change,
		sql => ref $sql ? $sql : [$sql],
		database => 't' . @cases,
		%options
	  };
	return;
}

sub flip { my ($column, $at) = @_; return "set_byte($column, $at, get_byte($column, $at) # 1)"; }

# alter(table, condition, column, expression, options): the value of one column.
sub alter
{
	my ($table, $condition, $column, $value, %options) = @_;
	my $name = delete $options{table} // $table;
	my $change = delete $options{change} // 'changed';
	return try($name, $column, $change,
		"UPDATE biometric.$table SET $column = $value WHERE $condition", %options);
}

# swap(table, one, other, columns): the contents of two rows.
sub swap
{
	my ($table, $one, $other, @columns) = @_;
	my $name = $table =~ s/entry_\d\d/entry_00 to entry_15/r;
	my $columns = join ', ', @columns;
	return try(
		$name,
		'two rows',
		'swapped',
		[
			"CREATE TEMP TABLE kept AS SELECT * FROM biometric.$table WHERE $one",
			"UPDATE biometric.$table SET ($columns) = (SELECT $columns FROM biometric.$table WHERE $other) WHERE $one",
			"UPDATE biometric.$table SET ($columns) = (SELECT $columns FROM kept) WHERE $other"
		]);
}

my $own = "log_id = '$id'";
my $nobody = "'00000000-0000-4000-8000-000000000000'";
my $no_evidence = 'other databases\' rows may be here: they count for nothing';
my $derived = 'the entries have their own times';

# Entries.
my $entries = 'entry_00 to entry_15';
my @entry = (table => $entries);
alter('entry_01', "$own AND seq = 1500", 'log_id', $nobody, @entry);
alter('entry_01', "$own AND seq = 1500", 'seq', 'seq + 100000', @entry);
alter('entry_01', "$own AND seq = 1500", 'leaf_hint', 'leaf_hint # 1', @entry);
alter('entry_01', "$own AND seq = 1500", 'entry', flip('entry', 9), @entry);
alter(
	'entry_02', "$own AND seq = $last",
	'entry', flip('entry', 9),
	@entry, change => 'changed in the last row');
try($entries, 'a row', 'removed', "DELETE FROM biometric.entry_01 WHERE $own AND seq = 1500");
try($entries, 'a row', 'inserted beyond the end',
	"INSERT INTO biometric.entry_02 SELECT log_id, $size + 1, leaf_hint, entry
	FROM biometric.entry_02 WHERE $own AND seq = $last");
try($entries, 'a row',
	'inserted with the number of another, in another table',
	"INSERT INTO biometric.entry_05 SELECT * FROM biometric.entry_01 WHERE $own AND seq = 1500");
try($entries, 'a row', 'inserted with a number of the detached segment',
	"INSERT INTO biometric.entry_00 SELECT log_id, 7, leaf_hint, entry
	FROM biometric.entry_01 WHERE $own AND seq = 1500");
swap('entry_01', "$own AND seq = 1500", "$own AND seq = 1501", 'entry', 'leaf_hint');
try($entries, 'the last rows',
	'removed', "DELETE FROM biometric.entry_02 WHERE $own AND seq > $last - 10");

# Tiles.
alter('tile', "$own AND index = 1", 'log_id', $nobody);
alter('tile', "$own AND index = 1", 'level', 2);
alter('tile', "$own AND index = 1", 'index', 2);
alter('tile', "$own AND index = 1", 'hashes', flip('hashes', 7));
alter(
	'tile', "$own AND index = 0",
	'hashes',
	flip('hashes', 7),
	change => 'changed, of the detached segment');
try('tile', 'a row', 'removed', "DELETE FROM biometric.tile WHERE $own AND index = 1");
try('tile', 'a row', 'inserted',
	"INSERT INTO biometric.tile SELECT log_id, 1, 2, hashes FROM biometric.tile WHERE $own AND index = 1"
);
swap('tile', "$own AND index = 0", "$own AND index = 1", 'hashes');

# The head row.
alter('head', $own, 'log_id', $nobody);
alter('head', $own, 'size', 'size - 1');
alter('head', $own, 'root', flip('root', 0));
alter('head', $own, 'tail', flip('tail', 0));
alter('head', $own, 'settled', 'size + 5', change => 'raised beyond the last entry');
alter(
	'head', $own, 'settled', 'settled - 50',
	change => 'lowered',
	remark => 'the worker settles the rest anew');
alter(
	'head', $own, 'unsettled',
	'ARRAY[3, 1]::int8[]',
	remark => 'what a transaction that ended meanwhile became is asked of the server');
try('head', 'the row', 'removed', "DELETE FROM biometric.head WHERE $own");
try('head', 'a row',
	'inserted, of another log',
	"INSERT INTO biometric.head SELECT $nobody, size, root, tail FROM biometric.head WHERE $own",
	remark => $no_evidence);

# Detached segments.
alter('segment', $own, 'log_id', $nobody);
alter('segment', $own, 'segment', 1);
alter('segment', $own, 'root', flip('root', 3));
alter('segment', $own, 'detached_at', "detached_at - interval '1 year'", remark => $derived);
alter('segment', $own, 'reason', "'another reason'");
try('segment', 'the row', 'removed', "DELETE FROM biometric.segment WHERE $own");
try('segment',
	'a row',
	'inserted, the entries removed',
	[
		"INSERT INTO biometric.segment
	SELECT log_id, 1, sha256('x'), detached_at, reason FROM biometric.segment WHERE $own",
		"DELETE FROM biometric.entry_01 WHERE $own",
		"DELETE FROM biometric.image_entry WHERE $own AND seq < 2048",
		"DELETE FROM biometric.traced WHERE $own AND block < 8",
		"DELETE FROM biometric.activity WHERE $own AND block < 8"
	]);

# The way from images to entries.
my $one_image = "$own AND seq = 1600";
alter('image_entry', $one_image, 'log_id', $nobody);
alter('image_entry', $one_image, 'image_id', 'gen_random_uuid()');
alter('image_entry', $one_image, 'seq', 'seq + 1');
try('image_entry', 'a row', 'removed', "DELETE FROM biometric.image_entry WHERE $one_image");
try('image_entry', 'a row',
	'inserted', "INSERT INTO biometric.image_entry VALUES ('$id', gen_random_uuid(), 1500)");
swap('image_entry', "$own AND seq = 1600", "$own AND seq = 1700", 'image_id');

# What is derived from the entries of a block: block 5, entries 1280 to 1535.
my $block = "$own AND block = 5";
my $detached_block = "$own AND block = 2";
my $of_archive = 'the entries to compare with are in the archive';
alter('activity', $block, 'log_id', $nobody);
alter('activity', $block, 'party', "'another'");
alter('activity', $block, 'block', '50');
alter('activity', $block, 'session_user_name', "'another'");
alter('activity', $block, $_, "$_ + 1") foreach qw(entries disclosures);
alter('activity', $block, $_, "$_ + interval '1 hour'") foreach qw(first_at last_at);
alter(
	'activity', $detached_block, 'entries', 'entries - 1',
	change => 'changed, of the detached segment',
	remark => $of_archive);
try('activity', 'a row', 'removed', "DELETE FROM biometric.activity WHERE $block");
try('activity', 'a row', 'inserted',
	"INSERT INTO biometric.activity VALUES ('$id', 'another', 5, '', 1, 1, now(), now())");
try('activity', 'a row', 'inserted beyond the end',
	"INSERT INTO biometric.activity VALUES ('$id', '', 1000000, '', 1, 1, now(), now())");
try('activity', 'all rows', 'removed', "DELETE FROM biometric.activity WHERE $own AND block > 3");
swap('activity', $block, "$own AND block = 6", 'first_at', 'last_at');
try('activity', 'a row', 'removed, of an adopted log',
	"DELETE FROM biometric.activity WHERE log_id = '$ledger->{adopted}' AND block = 0");
alter('traced', $block, 'log_id', $nobody);
alter('traced', $block, 'block', '50');
alter('traced', $block, 'stored', flip('stored', 9));
alter('traced', $block, 'disclosed', "'\\x0001020304'");
alter(
	'traced', $detached_block,
	'stored', flip('stored', 9),
	change => 'changed, of the detached segment',
	remark => $of_archive);
try('traced', 'a row', 'removed', "DELETE FROM biometric.traced WHERE $block");
try('traced', 'a row', 'inserted beyond the end',
	"INSERT INTO biometric.traced VALUES ('$id', 1000000, '', '')");
swap('traced', $block, "$own AND block = 6", 'stored', 'disclosed');

# Checkpoints.
alter('checkpoint', "$own AND size = $newest",
	'log_id', $nobody, remark => 'the worker signs the same again');
alter('checkpoint', "$own AND size = $newest", 'size', 'size - 1');
alter('checkpoint', "$own AND size = $newest", 'at', "at - interval '1 year'", remark => $derived);
alter('checkpoint', "$own AND size = $newest", 'note', flip('note', 70));
alter(
	'checkpoint', "$own AND size = $older",
	'note',
	flip('note', 70),
	change => 'changed in a row that is not the newest');
try('checkpoint', 'the newest row',
	'removed',
	"DELETE FROM biometric.checkpoint WHERE $own AND size = $newest",
	remark => 'the worker signs the same again');
try('checkpoint',
	'all rows',
	'removed, with their cosignatures',
	[
		"DELETE FROM biometric.checkpoint WHERE $own",
		"DELETE FROM biometric.cosignature WHERE $own"
	],
	remark => 'the worker signs the same again; cosignatures are with the witnesses, too');
try('checkpoint', 'the newest row', 'replaced by an older one, under its own size',
	"UPDATE biometric.checkpoint SET note = (SELECT note FROM biometric.checkpoint WHERE $own AND size = $older)
	WHERE $own AND size = $newest");
swap('checkpoint', "$own AND size = $older", "$own AND size = $newest", 'note');
my $forged = sub { my ($key, $at) = @_; return literal($key->checkpoint($at, "\0" x 32)); };
try('checkpoint',
	'a row',
	'inserted, signed by another key',
	"INSERT INTO biometric.checkpoint VALUES ('$id', $size - 5, now(), "
	  . $forged->($thief, $size - 5) . ')');
try('checkpoint',
	'a row',
	'inserted, signed with the stolen key, with another root',
	"INSERT INTO biometric.checkpoint VALUES ('$id', $size - 5, now(), "
	  . $forged->($ledger->{key}, $size - 5) . ')');
try('checkpoint',
	'the newest row',
	'replaced by one that is signed with the stolen key, with another root',
	'UPDATE biometric.checkpoint SET note = '
	  . $forged->($ledger->{key}, $newest)
	  . " WHERE $own AND size = $newest");

# Keys.
alter('verifier', $own, 'log_id', $nobody);
alter('verifier', $own, 'vkey', "'" . $thief->vkey . "'");
alter('verifier', $own, 'since', $size - 3);
alter('verifier', $own, 'at', "at - interval '1 year'", remark => $derived);
try('verifier', 'the row', 'removed', "DELETE FROM biometric.verifier WHERE $own");
my $add_key = sub {
	return "INSERT INTO biometric.verifier VALUES ('$id', '" . $thief->vkey . "', $_[0], now())";
};
try('verifier', 'a row', 'inserted, with a key of one\'s own', $add_key->(1500));
try('verifier',
	'a row',
	'inserted, with a key of one\'s own, as of the detached segment',
	$add_key->(3),
	remark =>
	  'the entry that would say so is in the archive; as long as it signs nothing it means nothing'
);
try('verifier',
	'a row',
	'inserted, with a key of one\'s own, as of the detached segment, that signs checkpoints',
	[
		$add_key->(3),
		map {
			my $note = $log->{checkpoints}{$_} =~ s/^(.*?\n)\n.*/$1/sr;
			'UPDATE biometric.checkpoint SET note = '
			  . literal("$note\n" . $thief->signature($note))
			  . " WHERE $own AND size = $_"
		} $older,
		$newest
	]);

# Cosignatures.
my $cosigned = "size = (SELECT max(size) FROM biometric.cosignature WHERE $own)";
my $first_cosigned = "size = (SELECT min(size) FROM biometric.cosignature WHERE $own)";
my $cosignature = "$own AND vkey = '$ledger->{witness}' AND $cosigned";
alter('cosignature', $cosignature, 'log_id', $nobody, remark => 'witnesses keep what they signed');
alter('cosignature', $cosignature, 'size', 'size - 1');
alter('cosignature', $cosignature, 'vkey', "'" . $stranger->vkey . "'");
alter('cosignature', $cosignature, 'line', flip('line', 80));
try('cosignature', 'a row', 'removed',
	"DELETE FROM biometric.cosignature WHERE $cosignature",
	remark => 'witnesses keep what they signed');
try('cosignature',
	'a row',
	'inserted, of somebody who is no witness',
	"INSERT INTO biometric.cosignature VALUES ('$id', $newest, '"
	  . $stranger->vkey . "', "
	  . literal(
		$stranger->cosignature($log->{checkpoints}{$newest} =~ s/^(.*?\n)\n.*/$1/sr, 1_790_000_000))
	  . ')',
	remark => 'it is true; whose signatures count is for who verifies');
swap('cosignature', $cosignature, "$own AND vkey = '$ledger->{witness}' AND $first_cosigned",
	'line');

# The log's row, while its first entries are here.
my @attached = (base => 'attached');
alter('log', $own, 'log_id', $nobody, @attached);
alter('log', $own, 'ordinal', 7, @attached, remark => 'only the order counts');
alter('log', $own, 'database_oid', 'database_oid::int8 + 1', @attached);
alter('log', $own, 'system_identifier', 'system_identifier + 1', @attached);
alter('log', $own, 'timeline', 'timeline + 1', @attached);
alter('log', $own, 'created_at', "created_at - interval '1 year'", @attached, remark => $derived);
alter('log', $own, 'parent', $nobody, @attached);
alter('log', $own, 'parent', 'NULL', @attached, change => 'emptied');
alter('log', $own, 'parent_size', 'parent_size - 1', @attached);
alter('log', $own, 'parent_root', flip('parent_root', 0), @attached);
alter('log', $own, 'reason', "'another reason'", @attached);
alter('log', $own, 'retired_at', 'now()', @attached);
alter('log', $own, $_->[0], $_->[1], @attached,
	remark => 'means nothing in a log of this database\'s own')
  foreach [ 'adopted_at', 'now()' ], [ 'adopted_size', 5 ], [ 'adopted_root', "sha256('x')" ];
alter('log', $own, 'segment_size', 32768, @attached);
try('log',
	'segment_size',
	'changed to what none can be',
	[
		'ALTER TABLE biometric.log DROP CONSTRAINT log_segment_size_check',
		"UPDATE biometric.log SET segment_size = 5000 WHERE $own"
	],
	@attached);
alter('log', $own, 'instance', "'1:1'", @attached);
alter(
	'log', $own, 'instance', 'NULL', @attached,
	change => 'emptied',
	remark =>
	  'the worker fills it in: a copy of the files that was made before is told by whatever else differs'
);
try('log', 'fenced_at, fenced_by',
	'changed', "UPDATE biometric.log SET fenced_at = now(), fenced_by = 'hand_over' WHERE $own",
	@attached);
try('log', 'fenced_at, fenced_by', 'emptied, after hand_over_ledger()',
	"UPDATE biometric.log SET fenced_at = NULL, fenced_by = NULL WHERE $own",
	base => 'handed',
	remark =>
	  'the last entry says it; two systems that go on are two histories, which anchors and witnesses see'
);
try('log', 'the row', 'removed', "DELETE FROM biometric.log WHERE $own", @attached);
try('log', 'a row', 'inserted, of another log',
	"INSERT INTO biometric.log SELECT (json_populate_record(l, json_build_object('log_id', $nobody, 'ordinal', NULL, 'parent', NULL, 'reason', NULL))).*
	FROM biometric.log AS l WHERE $own", @attached, remark => $no_evidence);

# The rows of the logs before it, and of those that were adopted.
my $before = "log_id = '$parent->{id}'";
my $restored = "log_id = '$adopted->{id}'";
alter(
	'log', $before, 'retired_at', 'NULL', @attached,
	change => 'emptied, of a log that was forked from',
	remark => 'its last entry says it');
alter('log', $before, 'ordinal', 7, @attached, change => 'changed, of a log that was forked from');
try('log', 'the row',
	'removed, of a log that was forked from',
	"DELETE FROM biometric.log WHERE $before", @attached);
alter(
	'log', $restored, 'adopted_at', 'now()', @attached,
	change => 'changed, of an adopted log',
	remark => $derived);
alter('log', $restored, 'adopted_size', 'adopted_size - 1',
	@attached, change => 'changed, of an adopted log');
alter('log', $restored, 'adopted_root', flip('adopted_root', 0),
	@attached, change => 'changed, of an adopted log');
try('log',
	'adopted_at, adopted_size, adopted_root',
	'emptied',
	"UPDATE biometric.log SET adopted_at = NULL, adopted_size = NULL, adopted_root = NULL WHERE $restored",
	@attached,
	remark => 'it waits to be adopted again; the entry `forked` stays');
try('log', 'the row',
	'removed, of an adopted log',
	"DELETE FROM biometric.log WHERE $restored",
	@attached, remark => 'the entry `forked` stays, and the dump');

# ---------------------------------------------------------------- whole ledgers, changed so that all agrees

# beginning(log, number): the entry there, or the last one before it, that begins a
# session or statement: nothing is derived from the time of such a one.
sub beginning
{
	my ($of, $number) = @_;
	$number-- until ord(substr $of->{entries}{$number}, 1, 1) <= 2;
	return $number;
}

# changed(log, number): its entries, one of them, about there, with another time.
sub changed
{
	my ($of, $number) = @_;
	my %entries = %{ $of->{entries} };
	substr($entries{ beginning($of, $number) }, 9, 1) ^= "\1";
	return \%entries;
}

# Checkpoints that a rewritten log would contradict.
sub unsigned
{
	my ($from, $condition) = @_;
	return
	  map { "DELETE FROM biometric.$_ WHERE $condition AND size > $from" }
	  qw(checkpoint cosignature);
}

sub signs
{
	my ($key, $entries, $at) = @_;
	return
	  "INSERT INTO biometric.checkpoint VALUES ('$id', $at, now(), "
	  . literal($key->checkpoint($at, forged_root($log, $entries, $at))) . ')';
}

my $whole = 'the whole ledger';
my $rewritten = changed($log, 1500);
my @rewrite = forged($log, $rewritten, $size);
try($whole, 'an entry', 'changed, and all hashes above it', \@rewrite);
try($whole, 'an entry',
	'changed, and all hashes above it, and the checkpoints from there on removed',
	[ @rewrite, unsigned(beginning($log, 1500), $own) ]);
try($whole, 'an entry',
	'changed, and all above it signed with the stolen key',
	[ @rewrite, unsigned(beginning($log, 1500), $own), signs($ledger->{key}, $rewritten, $size) ]);

my %announced = (
	%$rewritten,
	$size => BiometricAudit::Archive::entry(
		14, 1_790_000_000_000_000,
		-1, 16 => '{"verifier_key": "' . $thief->vkey . "\", \"previous\": \"$ledger->{vkey}\"}"));
try($whole,
	'an entry',
	'changed, and all above it signed with a key of one\'s own, which an entry announces',
	[
		forged($log, \%announced, $size + 1),
		unsigned(beginning($log, 1500), $own),
		"INSERT INTO biometric.verifier VALUES ('$id', '" . $thief->vkey . "', $size, now())",
		signs($thief, \%announced, $size + 1)
	]);

my @cut = forged($log, $log->{entries}, $size - 10);
try($whole, 'the last entries', 'removed, and their traces in tile and head', \@cut);
try($whole,
	'the last entries',
	'removed, and their traces in tile, head and checkpoint',
	[ @cut, unsigned($size - 10, $own) ]);
try($whole, 'all tables', 'rolled back to an older copy', [], rolled_back => 'older');
try($whole,
	'all tables',
	'emptied, and a new log begun',
	[
		(   map { "DELETE FROM biometric.$_" } (map { sprintf 'entry_%02d', $_ } 0 .. 15),
			qw(tile head segment image_entry activity traced checkpoint verifier cosignature)),
		"DELETE FROM biometric.log WHERE NOT log_id = '$id'",
		"UPDATE biometric.log SET log_id = $nobody, parent = NULL, parent_size = NULL, parent_root = NULL,
	reason = NULL"
	]);
my %longer = (
	%{ $log->{entries} },
	$size => BiometricAudit::Archive::entry(
		13, 1_790_000_000_000_000, -1, 16 => '{"action": "authorize"}'));
try($whole, 'an entry',
	'added at the end, and its hash in head',
	[ forged($log, \%longer, $size + 1) ],
	remark => 'it is in the log for good, under the next checkpoint');
my @old = forged($parent, changed($parent, 10), $parent->{size});
try($whole, 'an entry',
	'changed in a log that was forked from, and all above it',
	[ @old, unsigned(10, $before) ], @attached);
try($whole,
	'an entry',
	'changed in a log that was forked from, and all above it, and parent_root of the fork',
	[
		@old,
		unsigned(10, $before),
		'UPDATE biometric.log SET parent_root = '
		  . literal(forged_root($parent, changed($parent, 10), $parent->{size}))
		  . " WHERE $own"
	],
	@attached);
my @foreign = forged($adopted, changed($adopted, 10), $adopted->{size});
try($whole, 'an entry',
	'changed in an adopted log, and all above it',
	[ @foreign, unsigned(10, $restored) ], @attached);
try($whole,
	'an entry',
	'changed in an adopted log, and all above it, and adopted_root',
	[
		@foreign,
		unsigned(10, $restored),
		'UPDATE biometric.log SET adopted_root = '
		  . literal(forged_root($adopted, changed($adopted, 10), $adopted->{size}))
		  . " WHERE $restored"
	],
	@attached);

try('nothing', '', '', [], remark => 'a copy that nobody changed');
try_tamperings(@cases);

# ---------------------------------------------------------------- the table

foreach my $case (@cases)
{
	my $finders = grep { $_ } @{ $case->{found} };
	my $name = "$case->{table}, $case->{rows}: $case->{change}";
	$case->{remark}
	  ? is($finders, 0, "$name: harmless")
	  : cmp_ok($finders, '>', 0, "$name: found");
}

# What was done to one table with the same result makes one row: the columns to
# which the same was done together, then what else was done.
my @rows;
foreach my $case (grep { $_->{table} ne 'nothing' } @cases)
{
	my $said = join ' | ', (map { $_ ? 'yes' : '-' } @{ $case->{found} }), $case->{remark} // '';
	my ($row) = grep { $_->{table} eq $case->{table} && $_->{said} eq $said } @rows;
	push @rows, $row = { table => $case->{table}, said => $said } unless $row;
	push @{ $row->{changes} }, $case->{change} unless $row->{rows}{ $case->{change} };
	push @{ $row->{rows}{ $case->{change} } }, $case->{rows};
}

sub in_words
{
	my ($row) = @_;
	return join '; ', map { join(', ', @{ $row->{rows}{$_} }) . " $_" } @{ $row->{changes} };
}

my $table = join '',
  map { "| $_ |\n" }
  'table | what is done | worker | `verify_ledger()` | program | checkpoint from outside | otherwise',
  join(' | ', ('---') x 7), map { join ' | ', $_->{table}, in_words($_), $_->{said} } @rows;
append_to_file($ENV{TAMPER_TABLE}, $table) if $ENV{TAMPER_TABLE};
my ($documented) =
  slurp_file("$FindBin::RealBin/ledger.md") =~ /^(\| table \| what is done .*?\n)(?!\|)/ms;
is($documented // '', $table, 'doc/ledger.md has this table');

done_testing();

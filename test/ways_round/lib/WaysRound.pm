package WaysRound;

# Tries ways round the gates: each as the owner of a table with pictures, as a
# role that may only SELECT from it, and as superuser; each from a network that
# may have pictures opened and from one that may have them sealed.
#
# Every picture holds a canary. What an attacker gets is everything that the
# server sends him, and every file that the way has written. In all of it the
# canary may stand in one place only: as a whole picture in a DataRow to the
# network that may have it, and then the ledger holds as many entries.

use strict;
use warnings;

use Exporter     qw(import);
use File::Find   qw(find);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(opened);
use BiometricAudit::Picture qw(jpeg);

our @EXPORT    = qw(way try_ways);
our @EXPORT_OK = qw(picture any_form session node folder);

use constant { OPEN => '127.0.0.2', SEALED => '127.0.0.3' };

my $canary = 'Canary+/Otter-unter-Eis/7c1F9a';
my @roles = qw(owner reader superuser);
my $db = 'postgres';
my @ways;
my %label_of;    # by the bytes of a picture
my $node;

# ---------------------------------------------------------------- pictures and what they look like

# picture(n): long enough to go to TOAST.
sub picture
{
	my ($n) = @_;
	my $bytes = jpeg(64, 48, sprintf('%s %05d ', $canary, $n) x 80);
	$label_of{$bytes} = $n;
	return $bytes;
}

my $any_form = BiometricAudit::Picture::any_form($canary);
sub any_form { return $any_form; }

# A sealed value as text, as binary, as hexadecimal, or in base64.
my $sealed_form = qr/sealed:iVNFQUwN|\x89SEAL\r\n\x1a|(?i:895345414c0d0a1a)|iVNFQUwNCh/;

# ---------------------------------------------------------------- the ways

# way(name, %way): one way.
#   sql     statements, each of which is tried, on one session: a text or a list
#   do      instead: sub(session, role) that returns results (Wire::Result) or texts
#   before  statements that the attacker has run before, which must succeed
#   as      the roles that it is for
#   without what it takes, or why it fails; for the documentation
#   gets    what comes of it, for all or by role: "opened", "sealed", "nothing"
#           (that is of use to him), or "refused" and an SQLSTATE
#   gets_sealed  what comes of it from the other network, if that is not as usual
#   harm    true if it may leave the table of pictures changed
sub way
{
	my ($name, %way) = @_;
	push @ways, { name => $name, %way };
	return;
}

sub gets
{
	my ($way, $role) = @_;
	return ref $way->{gets} ? $way->{gets}{$role} : $way->{gets};
}

# ---------------------------------------------------------------- the place

# setting(%options): makes the server; options as BiometricAudit::Node->create's. Returns it.
sub setting
{
	my (%options) = @_;
	$node = BiometricAudit::Node->create('vault', %options);
	$node->prepare($db);
	$node->sql($db, "CREATE ROLE owner LOGIN");
	$node->sql($db, "CREATE ROLE reader LOGIN");
	$node->sql($db, "CREATE ROLE stranger LOGIN");
	$node->sql($db, "GRANT ALL ON SCHEMA public TO owner");
	$node->register($db, 'agency', OPEN . '/32', '{face,plate}', 'open', '{border_control}');
	$node->policy($db, q{SELECT biometric.authorize('agency', '{document,fingerprint,iris}', 'sealed')});
	$node->register($db, 'archive', SEALED . '/32', '{face,plate,document,fingerprint,iris}', 'sealed');
	fill();
	mkdir folder();
	return $node;
}

# Where ways leave files.
sub folder { return $node->basedir . '/ways'; }

# The table that everything is about.
sub fill
{
	$node->sql($db, $_) foreach (
		'DROP TABLE IF EXISTS vault CASCADE',
		'CREATE TABLE vault (id int PRIMARY KEY, name text, img biometric.face_image)',
		'ALTER TABLE vault OWNER TO owner',
		'GRANT SELECT ON vault TO reader',
		map({ "INSERT INTO vault VALUES ($_, 'person $_', '\\x" . unpack('H*', picture($_)) . "')" }
			1 .. 3));
	return;
}

sub login
{
	my ($role) = @_;
	return $role eq 'superuser' ? $node->superuser : $role;
}

# session(role, network): a purpose that is permitted is declared.
sub session
{
	my ($role, $network, %options) = @_;
	return $node->connect_from($network, $db, login($role), 'border_control', %options);
}

# ---------------------------------------------------------------- what he got

sub texts_of
{
	my ($result) = @_;
	return $result unless ref $result;
	return map {
		my $message = $_;
		(   map({ defined $_ ? $_ : () } @{ $message->{values} // [] }),
			values %{ $message->{fields} // {} },
			grep { defined } map { $message->{$_} } qw(body tag value))
	} $result->messages;
}

# The pictures that were opened, each a whole field of a DataRow.
sub opened_in
{
	my (@results) = @_;
	my @opened;
	foreach my $row (map { ref $_ ? $_->rows : () } @results)
	{
		foreach my $value (grep { defined } @$row)
		{
			my $bytes = $value =~ /^\\x(?:[0-9a-f]{2})+$/ ? opened($value) : $value;
			push @opened, $label_of{$bytes} if defined $label_of{$bytes};
		}
	}
	return @opened;
}

# Everything that holds a canary otherwise than as a whole picture in a row.
sub leaked_in
{
	my (@results) = @_;
	my @leaks;
	foreach my $result (@results)
	{
		my %in_row = ref $result ? map { $_ => 1 } grep { defined } map { @$_ } $result->rows : ();
		foreach my $text (texts_of($result))
		{
			next unless $text =~ $any_form;
			my $bytes = $text =~ /^\\x(?:[0-9a-f]{2})+$/ ? opened($text) : $text;
			push @leaks, substr($text, 0, 80)
			  unless ref $result && $in_row{$text} && defined $label_of{$bytes};
		}
	}
	return @leaks;
}

# The files that were written, as texts; they are gone afterwards.
sub files
{
	my @texts;
	find(
		{   no_chdir => 1,
			wanted => sub {
				return unless -f $_;
				push @texts, slurp_file($_);
				unlink $_;
			}
		},
		folder());
	return @texts;
}

sub outcome
{
	my ($last, @results) = @_;
	my $state = ref $last ? $last->sqlstate : undef;
	return "refused $state" if defined $state;
	return 'opened' if opened_in(@results);
	return (grep { $_ =~ $sealed_form } map { texts_of($_) } @results) ? 'sealed' : 'nothing';
}

# ---------------------------------------------------------------- trying

# All that follows happens in a schema of the attacker's own.
sub prepare_ground
{
	my ($role) = @_;
	$node->sql($db, 'DROP SCHEMA IF EXISTS w CASCADE');
	$node->sql($db, 'CREATE SCHEMA w AUTHORIZATION "' . login($role) . '"');
	$node->sql($db, 'GRANT ALL ON SCHEMA w TO PUBLIC');
	return;
}

sub attempt
{
	my ($way, $role, $network) = @_;
	prepare_ground($role);
	my $wire = session($role, $network);
	$wire->query('SET search_path = w, public');
	my @results;
	my $mark = $node->mark($db);
	foreach my $sql (ref $way->{before} ? @{ $way->{before} } : $way->{before} // ())
	{
		my $result = $wire->query(fill_in($sql));
		ok(!$result->error, "before: $sql") || diag $result->message;
		push @results, $result;
	}
	my $last;
	if ($way->{do})
	{
		push @results, $way->{do}->($wire, $role, $network);
		($last) = grep { ref $_ } reverse @results;
	}
	else
	{
		foreach my $sql (ref $way->{sql} ? @{ $way->{sql} } : $way->{sql})
		{
			push @results, $last = $wire->query(fill_in($sql));
		}
	}
	push @results, files();
	$wire->close;
	return judge($way, $role, $network, $mark, $last, @results);
}

sub fill_in
{
	my ($sql) = @_;
	my $folder = folder();
	$sql =~ s/\{dir\}/$folder/g;
	$sql =~ s/\{port\}/$node->port/ge;
	$sql =~ s/\{host\}/$node->host/ge;
	$sql =~ s/\{picture (\d+)\}/'\\x' . unpack('H*', picture($1))/ge;
	return $sql;
}

sub judge
{
	my ($way, $role, $network, $mark, $last, @results) = @_;
	my $expected = gets($way, $role);
	$expected = $way->{gets_sealed} // ($expected eq 'opened' ? 'sealed' : $expected)
	  if $network eq SEALED;
	my $got = outcome($last, @results);
	my $where = $network eq OPEN ? 'open' : 'sealed';

	is($got, $expected, "$role, $where: $expected")
	  || diag +(ref $last ? $last->message : undef) // 'no error';
	my @leaks = leaked_in(@results);
	is("@leaks", '', "$role, $where: no picture but in a row");
	my @opened = opened_in(@results);
	my $entries = $node->sql($db,
		"SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark");
	# what an error stopped half-way may have been entered without being sent
	cmp_ok(scalar @opened, $got =~ /^refused/ ? '<=' : '==', $entries, "$role, $where: each is entered");
	is($entries, 0, "$role, $where: nothing is disclosed") if $network eq SEALED;
	return;
}

sub try_all
{
	foreach my $way (@ways)
	{
		subtest $way->{name} => sub {
			foreach my $role (@{ $way->{as} // \@roles })
			{
				foreach my $network (OPEN, SEALED)
				{
					attempt($way, $role, $network);
					fill() if $way->{harm};
				}
			}
		};
	}
	return;
}

# bytes_of(path): of a file that the server may have removed meanwhile.
sub bytes_of
{
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/ = undef;
	return readline($file) // '';
}

# everywhere(): neither the server's files nor its log hold a picture.
sub everywhere
{
	$node->sql('postgres', 'CHECKPOINT');
	my $holds = sub {
		my ($path) = @_;
		my @found;
		find(
			{   no_chdir => 1,
				wanted => sub { push @found, $_ if -f $_ && bytes_of($_) =~ $any_form }
			},
			$path);
		return "@found";
	};
	is($holds->($node->data_dir), '', 'no file of the server holds a picture');
	ok(slurp_file($node->logfile) !~ $any_form, 'nor does its log');
	return;
}

# The way as a row of the table in doc/ways-out.md.
sub row_of
{
	my ($way) = @_;
	my %able = map { $_ => 1 } @{ $way->{as} // \@roles };
	return join ' | ', "| $way->{name}", map({ $able{$_} ? gets($way, $_) : '-' } @roles),
	  ($way->{without} // '') . ' |';
}

# try_ways(%options): tries them all; options as setting's. With a file's name
# in WAYS_LIST the ways are added to that file instead.
sub try_ways
{
	my (%options) = @_;
	if ($ENV{WAYS_LIST})
	{
		append_to_file($ENV{WAYS_LIST}, join '', map { row_of($_) . "\n" } @ways);
		plan skip_all => 'listed';
	}
	setting(%options);
	try_all();
	everywhere();
	done_testing();
	return;
}

# node() is the server.
sub node { return $node; }

1;

package BiometricAudit::Archive;

# Makes ledgers in files, as c2sp.org/tlog-tiles has them, checkpoints and
# proofs, without the extension's code: entries, tree and notes are written
# here from the specifications, and signed by the openssl program.

use strict;
use warnings;

use Carp        qw(croak);
use Digest::SHA qw(sha256);
use Exporter    qw(import);
use File::Path  qw(mkpath);
use File::Temp  qw(tempdir);
use MIME::Base64 qw(encode_base64);

our @EXPORT_OK = qw(entry write_file read_file b64);

sub b64 { return encode_base64($_[0], ''); }

sub write_file
{
	my ($path, $bytes) = @_;
	mkpath($1) if $path =~ m{^(.*)/} && !-d $1;
	open(my $out, '>:raw', $path) or croak "$path: $!";
	print {$out} $bytes;
	close $out or croak "$path: $!";
	return;
}

sub read_file
{
	my ($path) = @_;
	open(my $in, '<:raw', $path) or croak "$path: $!";
	local $/;
	return scalar <$in>;
}

# ---------------------------------------------------------------- entries

# entry(event, at, reference, tag => value, ...): canonical bytes; tags in
# ascending order; values as bytes.
sub entry
{
	my ($event, $at, $reference, @fields) = @_;
	my $bytes = pack('CC q> q>', 1, $event, $at, $reference);
	while (my ($tag, $value) = splice(@fields, 0, 2))
	{
		my $length = length $value;
		$bytes .= chr($tag);
		while ($length > 0x7f)
		{
			$bytes .= chr(($length & 0x7f) | 0x80);
			$length >>= 7;
		}
		$bytes .= chr($length) . $value;
	}
	return $bytes;
}

# ---------------------------------------------------------------- keys and notes

# key(name, algorithm): a fresh key; 1 signs a log, 4 is a witness's.
sub key
{
	my ($class, $name, $algorithm) = @_;
	my $directory = tempdir(CLEANUP => 1);

	# the program writes it with mode 0600, as the server wants it
	system('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', "$directory/key") == 0
	  or croak 'openssl genpkey failed';
	my $public = `openssl pkey -in $directory/key -pubout -outform DER`;
	my $self = {
		algorithm => $algorithm // 1,
		directory => $directory,
		public => substr($public, -32)
	};
	return bless($self, $class)->named($name);
}

# named(name): the same key under another name.
sub named
{
	my ($self, $name) = @_;
	my $algorithm = chr $self->{algorithm};
	return bless {
		%$self,
		name => $name,
		id => substr(sha256("$name\n$algorithm$self->{public}"), 0, 4)
	  },
	  ref $self;
}

sub vkey
{
	my ($self) = @_;
	return join '+', $self->{name}, unpack('H*', $self->{id}),
	  b64(chr($self->{algorithm}) . $self->{public});
}

sub _sign
{
	my ($self, $message) = @_;
	my $directory = $self->{directory};
	write_file("$directory/message", $message);
	system(
		'openssl', 'pkeyutl', '-sign', '-rawin', '-inkey', "$directory/key",
		'-in', "$directory/message", '-out', "$directory/signature") == 0
	  or croak 'openssl pkeyutl failed';
	return read_file("$directory/signature");
}

# signature(text): the log's signature line.
sub signature
{
	my ($self, $text) = @_;
	return "\x{e2}\x{80}\x{94} $self->{name} " . b64($self->{id} . $self->_sign($text)) . "\n";
}

# cosignature(text, time): a witness's signature line.
sub cosignature
{
	my ($self, $text, $time) = @_;
	my $signature = $self->_sign("cosignature/v1\ntime $time\n$text");
	return "\x{e2}\x{80}\x{94} $self->{name} "
	  . b64($self->{id} . pack('Q>', $time) . $signature) . "\n";
}

sub checkpoint_text
{
	my ($self, $size, $root) = @_;
	return "$self->{name}\n$size\n" . b64($root) . "\n";
}

# checkpoint(size, root): a whole note.
sub checkpoint
{
	my ($self, $size, $root) = @_;
	my $text = $self->checkpoint_text($size, $root);
	return "$text\n" . $self->signature($text);
}

# ---------------------------------------------------------------- the tree

sub leaf { return sha256("\0$_[0]"); }
sub node { return sha256("\1$_[0]$_[1]"); }

# root(hashes ...): of RFC 6962, by its definition.
sub root
{
	my @hashes = @_;
	return sha256('') unless @hashes;
	while (@hashes > 1)
	{
		my @above;
		push @above, @hashes > 1 ? node(splice @hashes, 0, 2) : shift @hashes while @hashes;
		@hashes = @above;
	}
	return $hashes[0];
}

sub _split
{
	my ($size) = @_;
	my $k = 1;
	$k *= 2 while $k * 2 < $size;
	return $k;
}

# inclusion(index, hashes ...): the proof, from the leaf's sibling up.
sub inclusion
{
	my ($index, @hashes) = @_;
	return () if @hashes <= 1;
	my $k = _split(scalar @hashes);
	my @left = @hashes[0 .. $k - 1];
	my @right = @hashes[$k .. $#hashes];
	return $index < $k
	  ? (inclusion($index, @left), root(@right))
	  : (inclusion($index - $k, @right), root(@left));
}

# consistency(old size, hashes ...): the proof of RFC 6962 section 2.1.2.
sub consistency
{
	my ($old, @hashes) = @_;
	return $old == @hashes || $old == 0 ? () : _subproof($old, 1, @hashes);
}

sub _subproof
{
	my ($old, $whole, @hashes) = @_;
	return $whole ? () : (root(@hashes)) if $old == @hashes;
	my $k = _split(scalar @hashes);
	my @left = @hashes[0 .. $k - 1];
	my @right = @hashes[$k .. $#hashes];
	return $old <= $k
	  ? (_subproof($old, $whole, @left), root(@right))
	  : (_subproof($old - $k, 0, @right), root(@left));
}

# ---------------------------------------------------------------- files

# path(level or 'entries', index, width)
sub path
{
	my ($level, $index, $width) = @_;
	my $name = sprintf '%03d', $index % 1000;
	while ($index = int($index / 1000))
	{
		$name = sprintf 'x%03d/%s', $index % 1000, $name;
	}
	return "tile/$level/$name" . ($width < 256 ? ".p/$width" : '');
}

# write(directory, entries): bundles and tiles of all levels; returns the root.
sub write_tree
{
	my ($directory, $entries) = @_;
	my @hashes;
	for (my $first = 0; $first < @$entries; $first += 256)
	{
		my $last = $first + 255 < $#$entries ? $first + 255 : $#$entries;
		write_file("$directory/" . path('entries', $first / 256, $last - $first + 1),
			join '', map { pack('n/a*', $_) } @$entries[ $first .. $last ]);
		push @hashes, map { leaf($_) } @$entries[ $first .. $last ];
	}
	my @leaves = @hashes;
	for (my $level = 0; @hashes; $level++)
	{
		my @above;
		for (my $first = 0; $first < @hashes; $first += 256)
		{
			my $last = $first + 255 < $#hashes ? $first + 255 : $#hashes;
			my @tile = @hashes[ $first .. $last ];
			write_file("$directory/" . path($level, $first / 256, scalar @tile), join '', @tile);
			push @above, root(@tile) if @tile == 256;
		}
		@hashes = @above;
	}
	return root(@leaves);
}

# write_archive(directory, entries): a whole archive, signed; returns its root.
sub write_archive
{
	my ($self, $directory, $entries) = @_;
	my $root = write_tree($directory, $entries);
	write_file("$directory/verifier", $self->vkey . "\n");
	write_file("$directory/checkpoint", $self->checkpoint(scalar @$entries, $root));
	return $root;
}

# proof(index, leaves): the text of a .tlog-proof.
sub proof
{
	my ($self, $index, $entries) = @_;
	my @leaves = map { leaf($_) } @$entries;
	return join "\n", 'c2sp.org/tlog-proof@v1', 'extra ' . b64($entries->[$index]),
	  "index $index", (map { b64($_) } inclusion($index, @leaves)), '',
	  $self->checkpoint(scalar @leaves, root(@leaves));
}

1;

package BiometricAudit::Picture;

# Makes pictures of any size out of nothing: structurally whole JPEG and PNG
# files whose bytes depend on their arguments alone, with room for a text to
# be found again.

use strict;
use warnings;

use Compress::Zlib qw(crc32 compress);
use Digest::SHA    qw(sha256 sha256_hex);
use Exporter       qw(import);
use MIME::Base64   qw(encode_base64);

our @EXPORT_OK = qw(jpeg png numbered_jpeg numbered_jpeg_sql fingerprint any_form);

# Bytes of a JPEG made here that are not picture data.
use constant JPEG_FRAME => 45;

# jpeg(width, height, data): the data must not hold the byte FF.
sub jpeg
{
	my ($width, $height, $data) = @_;
	return
		"\xff\xd8"
	  . pack('H*', 'ffe000104a46494600010100000100010000')
	  . pack('H4 n C n n C4', 'ffc0', 11, 8, $height, $width, 1, 1, 0x11, 0)
	  . pack('H*', 'ffda0008010100003f00')
	  . $data
	  . "\xff\xd9";
}

# png(width, height, seed, text): grey noise that depends on the seed, with a
# text chunk.
sub png
{
	my ($width, $height, $seed, $text) = @_;
	my $noise = _noise($seed, $width * $height);
	my $lines = join '', map { "\0" . substr($noise, $_ * $width, $width) } 0 .. $height - 1;
	return
		"\x89PNG\r\n\x1a\n"
	  . _chunk('IHDR', pack('N N C5', $width, $height, 8, 0, 0, 0, 0))
	  . (defined $text ? _chunk('tEXt', "Comment\0$text") : '')
	  . _chunk('IDAT', compress($lines))
	  . _chunk('IEND', '');
}

sub _chunk
{
	my ($type, $body) = @_;
	return pack('N', length $body) . $type . $body . pack('N', crc32($type . $body));
}

sub _noise
{
	my ($seed, $length) = @_;
	my $noise = '';
	$noise .= sha256("$seed " . length $noise) while length $noise < $length;
	return substr($noise, 0, $length);
}

# numbered_jpeg(n, size): the n-th of a series of JPEGs of size bytes each.
# numbered_jpeg_sql() defines the SQL function public.numbered_jpeg(n int,
# size int), which makes the same bytes in the server.
sub numbered_jpeg
{
	my ($n, $size) = @_;
	my $data = sha256_hex($n) x (1 + int($size / 64));
	return jpeg(320, 240, substr($data, 0, $size - JPEG_FRAME));
}

sub numbered_jpeg_sql
{
	my ($head) = unpack('H*', jpeg(320, 240, '')) =~ /^(.*)ffd9$/;
	my $frame = JPEG_FRAME;
	return <<"END";
CREATE FUNCTION public.numbered_jpeg(n int, size int) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.decode('$head', 'hex') OPERATOR(pg_catalog.||) pg_catalog.convert_to(
	pg_catalog.substr(pg_catalog.repeat(
		pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(n::text, 'UTF8')), 'hex'),
		1 OPERATOR(pg_catalog.+) (size OPERATOR(pg_catalog./) 64)),
		1, size OPERATOR(pg_catalog.-) $frame), 'UTF8')
	OPERATOR(pg_catalog.||) pg_catalog.decode('ffd9', 'hex');
END
}

# any_form(text): a pattern that finds a text as it is, reversed, in octal
# escapes, in hexadecimal of either case, and in base64 in all three alignments.
sub any_form
{
	my ($text) = @_;
	my @base64 = map {
		my $first = int(($_ * 8 + 5) / 6);
		quotemeta substr(encode_base64(('-' x $_) . $text, ''),
			$first, int(($_ + length $text) * 8 / 6) - $first);
	} 0 .. 2;
	my $octal = join '', map { sprintf '\\\\%03o', ord } split //, $text;
	my $all = join '|', quotemeta $text, quotemeta scalar reverse($text), $octal,
	  '(?i:' . unpack('H*', $text) . ')', @base64;
	return qr/$all/;
}

# fingerprint(bytes): their SHA-256 in hex.
sub fingerprint { return sha256_hex($_[0]); }

1;

package BiometricAudit::Disk;

# File systems so small that a test can fill them. Mounting them takes no
# rights outside: whoever uses this module is started anew in namespaces of its
# own, which vanish with it, or skipped where the machine lets nobody do so. To be
# used before PostgreSQL::Test::Utils has redirected anything, which it does at INIT.

use strict;
use warnings;

use parent 'Exporter';

use File::Path qw(mkpath);
use File::Temp ();
use Test::More;

our @EXPORT_OK = qw(small_disk fill_disk free_disk remove_disk);

use constant MARK => 'BIOMETRIC_AUDIT_NAMESPACE';

sub import
{
	my ($class, @names) = @_;
	_begin_anew() unless $ENV{ (MARK) } || $^C;
	return $class->export_to_level(1, $class, @names);
}

sub _begin_anew
{
	my @unshare = qw(unshare --user --map-current-user --keep-caps --mount);
	my $where = File::Temp->newdir;
	plan(skip_all => 'this machine lets nobody mount a file system in a namespace of his own')
	  if system("@unshare mount -t tmpfs -o size=1m tmpfs $where >/dev/null 2>&1") != 0;
	$ENV{ (MARK) } = 1;
	exec @unshare, $^X, $0 or die "unshare: $!";
}

# small_disk(directory, megabytes) makes a directory with room for so much.
sub small_disk
{
	my ($directory, $megabytes) = @_;
	mkpath($directory);
	system('mount', '-t', 'tmpfs', '-o', "size=${megabytes}m,mode=0700", 'tmpfs', $directory) == 0
	  or die "could not mount $directory";
	return $directory;
}

# fill_disk(directory) leaves no byte; free_disk(directory) gives back what that took.
sub fill_disk
{
	my ($directory) = @_;
	foreach my $length (1 << 20, 4096, 1)
	{
		open my $file, '>>', "$directory/ballast" or die "$directory: $!";
		while (syswrite($file, "\0" x $length)) { }
		close $file;
	}
	return;
}

sub free_disk { unlink "$_[0]/ballast" or die "$_[0]: $!"; return; }

# remove_disk(directory), when nobody uses it any more.
sub remove_disk { system('umount', $_[0]) == 0 or diag "could not unmount $_[0]"; return; }

1;

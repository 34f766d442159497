# Ways round by storing an image elsewhere, or by bringing a sealed one back in.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use WaysRound;
use Test::More;

# What a sealed value of the table looks like to somebody who has only ever seen it sealed.
sub sealed_text
{
	my ($n) = @_;
	return WaysRound::node()->sql('postgres', "SELECT img::text FROM public.vault WHERE id = $n");
}

way 'CREATE TABLE AS', sql => [ 'CREATE TABLE w.copy AS SELECT * FROM vault', 'SELECT img FROM w.copy' ],
  gets => 'opened', without => 'by somebody with SELECT: as the table itself';
way 'SELECT INTO', sql => [ 'SELECT * INTO w.copy FROM vault', 'SELECT img FROM w.copy' ], gets => 'opened';
way 'INSERT ... SELECT', before => 'CREATE TABLE w.copy (LIKE vault)',
  sql => [ 'INSERT INTO w.copy SELECT * FROM vault', 'SELECT img FROM w.copy' ], gets => 'opened';
way 'a temporary table', sql => [ 'CREATE TEMP TABLE copy AS SELECT * FROM vault', 'SELECT img FROM copy' ],
  gets => 'opened';
way 'a materialized view',
  sql => [ 'CREATE MATERIALIZED VIEW w.copy AS SELECT * FROM vault', 'REFRESH MATERIALIZED VIEW w.copy', 'SELECT img FROM w.copy' ],
  gets => 'opened';
way 'a column of text filled from it', sql => [ 'CREATE TABLE w.copy AS SELECT img::text FROM vault', 'SELECT img FROM w.copy' ],
  gets => 'sealed';
way 'a column of bytea filled from it',
  sql => [ 'CREATE TABLE w.copy AS SELECT img::bytea FROM vault', 'SELECT img FROM w.copy' ], gets => 'sealed',
  without => 'the mark of the cast holds for its own statement only';
way 'ALTER COLUMN TYPE to text', sql => [ 'ALTER TABLE vault ALTER img TYPE text USING img::text', 'SELECT img FROM vault' ],
  harm => 1, gets => { owner => 'opened', reader => 'opened', superuser => 'opened' },
  without => 'refused; the table is as it was';
way 'ALTER COLUMN TYPE to bytea', sql => 'ALTER TABLE vault ALTER img TYPE bytea', harm => 1, gets => 'refused 42501';
way 'an expression index', sql => [ 'CREATE INDEX ON vault ((img::text))', 'CREATE INDEX ON vault (md5(img::text))' ],
  as => [qw(owner superuser)], harm => 1, gets => 'refused 42P17', without => 'text output is not immutable';
way 'a generated column of text', sql => 'ALTER TABLE vault ADD t text GENERATED ALWAYS AS (img::text) STORED',
  as => [qw(owner superuser)], harm => 1, gets => 'refused 42P17';
way 'a generated column of an image type',
  sql => 'CREATE TABLE w.g (id int, img biometric.face_image GENERATED ALWAYS AS (NULL::biometric.face_image) STORED)',
  gets => 'refused 0A000';
way 'a column of an array of images', sql => 'CREATE TABLE w.g (imgs biometric.face_image[])', gets => 'refused 0A000';
way 'a default expression that reads the table',
  before => 'CREATE FUNCTION w.f() RETURNS biometric.face_image LANGUAGE sql AS \'SELECT img FROM public.vault LIMIT 1\'',
  sql => [ 'CREATE TABLE w.d (id int, img biometric.face_image DEFAULT w.f())', 'INSERT INTO w.d VALUES (1)', 'SELECT img FROM w.d' ],
  gets => 'opened';
way 'sealed text cast back', gets => { owner => 'opened', reader => 'opened', superuser => 'opened' },
  without => 'by somebody with SELECT on the column it is from',
  do => sub {
	my ($wire) = @_;
	return $wire->query("SELECT '" . sealed_text(1) . "'::biometric.face_image");
  };
way 'sealed text cast back by a stranger', as => ['reader'], gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	my $stranger = WaysRound::session('stranger', $network);
	return map { $stranger->query($_) } (
		"SELECT '$text'::biometric.face_image",
		"SELECT '$text'::biometric.face_image::bytea",
		"SELECT '$text'::biometric.face_image, 'vault'::regclass",
		"SELECT '$text'::biometric.face_image, 'vault'::regclass::oid::int FROM pg_class LIMIT 1");
  };
way 'sealed text put into a table of his own by a stranger', as => ['reader'], gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	my $stranger = WaysRound::session('stranger', $network);
	return map { $stranger->query($_) } (
		'CREATE TEMP TABLE mine (id int PRIMARY KEY, img biometric.face_image)',
		"INSERT INTO mine VALUES (1, '$text')",
		'SELECT img FROM mine', 'SELECT img::bytea FROM mine',
		'UPDATE mine SET img = img RETURNING img',
		'CREATE TEMP TABLE again AS SELECT * FROM mine', 'SELECT img FROM again',
		'ALTER TABLE mine ALTER img TYPE biometric.face_image USING img::text::biometric.face_image',
		'SELECT img FROM mine');
  };
way 'sealed text of a table with row-level security', as => ['reader'], harm => 1, gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	WaysRound::node()->sql('postgres', 'ALTER TABLE public.vault ENABLE ROW LEVEL SECURITY');
	return map { $wire->query($_) } (
		"SELECT '$text'::biometric.face_image",
		'CREATE TABLE w.mine (img biometric.face_image)',
		"INSERT INTO w.mine VALUES ('$text')",
		'SELECT img FROM w.mine');
  };
way 'sealed text by a role with SELECT on another column only', as => ['reader'], harm => 1, gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	WaysRound::node()->sql('postgres', 'GRANT SELECT (id, name) ON public.vault TO stranger');
	my $stranger = WaysRound::session('stranger', $network);
	return map { $stranger->query($_) } (
		"SELECT '$text'::biometric.face_image FROM vault",
		'CREATE TEMP TABLE mine (img biometric.face_image)',
		"INSERT INTO mine SELECT '$text'::biometric.face_image FROM vault",
		'SELECT img FROM mine');
  };
way 'sealed text handed to a definer\'s function that stores it', as => ['reader'], gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	my $node = WaysRound::node();
	$node->sql('postgres', $_) foreach (
		'CREATE TABLE w.inbox (id int, img biometric.face_image)', 'ALTER TABLE w.inbox OWNER TO owner',
		q{CREATE FUNCTION w.put(t text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = w
			AS 'INSERT INTO w.inbox VALUES (1, t::biometric.face_image)'},
		'ALTER FUNCTION w.put OWNER TO owner', 'GRANT SELECT ON w.inbox TO stranger');
	my $stranger = WaysRound::session('stranger', $network);
	return map { $stranger->query($_) } ("SELECT w.put('$text')", 'SELECT img FROM w.inbox',
		'SELECT img::bytea FROM w.inbox');
  };
way 'binary sealed value as a parameter', as => ['reader'], gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $bytes = pack('H*', WaysRound::node()->sql('postgres',
		"SELECT encode(img::bytea, 'hex') FROM public.vault WHERE id = 1"));
	my $stranger = WaysRound::session('stranger', $network);
	return $stranger->extended('SELECT $1::biometric.face_image', params => [ [$bytes] ]);
  };
way 'COPY FROM of a sealed file of one\'s own', as => ['reader'], gets => 'sealed',
  do => sub {
	my ($wire, $role, $network) = @_;
	my $text = sealed_text(1);
	my $stranger = WaysRound::session('stranger', $network);
	my @results = $stranger->query('CREATE TEMP TABLE mine (img biometric.face_image)');
	$stranger->send_query('COPY mine FROM STDIN');
	$stranger->collect(until => 'GZ');
	$stranger->send_message('d', "$text\n");
	push @results, $stranger->send_message('c')->drain;
	return @results, $stranger->query('SELECT img FROM mine');
  };
way 'a forged envelope: bits flipped in header and body', gets => 'refused 22P02',
  do => sub {
	my ($wire) = @_;
	my $text = sealed_text(1);
	my @results;
	foreach my $at (40, 100, 200, 400)
	{
		my $forged = $text;
		substr($forged, $at, 1) = substr($forged, $at, 1) eq 'A' ? 'B' : 'A';
		push @results, $wire->query("SELECT '$forged'::biometric.face_image");
		is($results[-1]->sqlstate, '22P03', "a bit at $at");
	}
	return @results, $wire->query("SELECT 'sealed'::biometric.face_image");
  };
way 'the header of one image on the body of another', gets => 'refused 22P03',
  sql => q{SELECT (substr(a.img::bytea, 1, 232) || substr(b.img::bytea, 233))::biometric.face_image
	FROM vault a, vault b WHERE a.id = 1 AND b.id = 2};
way 'a truncated envelope', gets => 'refused 22P03',
  sql => 'SELECT substr(img::bytea, 1, 500)::biometric.face_image FROM vault';
way 'an image taken for one of another kind', gets => 'refused 22P03',
  sql => 'SELECT img::bytea::biometric.plate_image FROM vault';
way 'a view with a rule', before => 'CREATE VIEW w.v AS SELECT * FROM vault', sql => 'SELECT img FROM w.v', gets => 'opened';
way 'a rule that copies what is inserted',
  before => [ 'CREATE TABLE w.log (t text)', 'CREATE TABLE w.src (img biometric.face_image)',
	'CREATE RULE r AS ON INSERT TO w.src DO ALSO INSERT INTO w.log VALUES (NEW.img::text)' ],
  sql => [ 'INSERT INTO w.src SELECT img FROM vault', 'SELECT t FROM w.log' ], gets => 'sealed';
way 'a trigger of the owner that keeps what is inserted',
  before => [ 'CREATE TABLE w.src (img biometric.face_image)', 'CREATE TABLE w.log (t text)',
	'CREATE FUNCTION w.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO w.log VALUES (NEW.img::text); RAISE NOTICE \'%\', NEW.img; RETURN NEW; END $$',
	'CREATE TRIGGER a_first BEFORE INSERT ON w.src FOR EACH ROW EXECUTE FUNCTION w.keep()' ],
  sql => [ q{INSERT INTO w.src VALUES ('{picture 8}')}, 'SELECT t FROM w.log' ], gets => 'sealed',
  without => 'the picture is sealed before the first trigger';
way 'a trigger that swaps the image after it was bound',
  before => [ 'CREATE TABLE w.src (id int, img biometric.face_image)',
	'CREATE FUNCTION w.swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.img := (SELECT img FROM public.vault WHERE id = 2); RETURN NEW; END $$',
	'CREATE TRIGGER "~~last" BEFORE INSERT ON w.src FOR EACH ROW EXECUTE FUNCTION w.swap()' ],
  sql => q{INSERT INTO w.src VALUES (1, '{picture 8}')}, gets => 'refused 55000';
way 'a row-level security policy that leaks what it sees',
  before => [ 'CREATE TABLE w.rls AS SELECT * FROM vault',
	'CREATE FUNCTION w.leak(biometric.face_image) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE \'%\', $1; RETURN true; END $$',
	'ALTER TABLE w.rls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'CREATE POLICY p ON w.rls USING (w.leak(img))' ],
  sql => 'SELECT id FROM w.rls', as => [qw(owner reader)], gets => 'sealed';
way 'a child table by inheritance', before => 'CREATE TABLE w.parent (id int, name text, img biometric.face_image)',
  sql => [ 'CREATE TABLE w.child () INHERITS (w.parent)', 'INSERT INTO w.child SELECT * FROM vault', 'SELECT img FROM w.parent' ], gets => 'opened';
way 'a partition, attached and detached',
  before => [ 'CREATE TABLE w.root (id int, name text, img biometric.face_image) PARTITION BY LIST (id)',
	'CREATE TABLE w.part (id int, name text, img biometric.face_image)', 'INSERT INTO w.part SELECT * FROM vault WHERE id = 1' ],
  sql => [ 'ALTER TABLE w.root ATTACH PARTITION w.part FOR VALUES IN (1)', 'SELECT img FROM w.root',
	'ALTER TABLE w.root DETACH PARTITION w.part', 'SELECT img FROM w.part' ], gets => 'opened';
way 'a table that a permit refuses, dropped to free its copy', as => [qw(owner superuser)], gets => 'refused 42501',
  without => 'the permit must be revoked first',
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	$wire->query('CREATE TABLE w.secret AS SELECT * FROM vault');
	my $permit = $node->policy('postgres',
		q{SELECT biometric.authorize('agency', '{face}', 'refuse', relation => 'w.secret')});
	$node->sql('postgres', 'CREATE TABLE w.copy AS TABLE w.secret; GRANT SELECT ON w.copy TO PUBLIC');
	my ($dropped, $shown) = map { $wire->query($_) } 'DROP TABLE w.secret', 'SELECT img FROM w.copy';
	$node->policy('postgres', "SELECT biometric.revoke($permit, 'end of test')");
	return ($shown, $dropped);
  };
way 'a function of a definer with SELECT', as => ['reader'], gets => 'opened', without => 'as PostgreSQL permits',
  do => sub {
	my ($wire, $role, $network) = @_;
	WaysRound::node()->sql('postgres', $_) foreach (
		q{CREATE FUNCTION w.one() RETURNS biometric.face_image LANGUAGE sql SECURITY DEFINER SET search_path = w
			AS 'SELECT img FROM public.vault WHERE id = 1'}, 'ALTER FUNCTION w.one OWNER TO owner');
	my $stranger = WaysRound::session('stranger', $network);
	return $stranger->query('SELECT w.one()');
  };
way 'statistics of the column', sql => [ 'ANALYZE vault',
	q{SELECT * FROM pg_stats WHERE tablename = 'vault' AND attname = 'img'} ], as => [qw(owner superuser)], gets => 'nothing';
way 'the TOAST table', as => ['superuser'], gets => 'sealed',
  do => sub {
	my ($wire) = @_;
	my $toast = WaysRound::node()->sql('postgres', q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'public.vault'::regclass});
	return $wire->query("SELECT chunk_data FROM $toast");
  };

try_ways(conf => "log_statement = all\n");
